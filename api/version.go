// SPDX-License-Identifier: Apache-2.0

package api

// Version is what a program says it is: the answer of GET /version.
type Version struct {
	GitCommit string `json:"GitCommit"`
	Version   string `json:"Version"`
	BuildTime string `json:"BuildTime"`
}
