// SPDX-License-Identifier: Apache-2.0

package api

// Version is what a program says it is: the answer of GET /version.
type Version struct {
	GitCommit string `json:"GitCommit"` // the commit it is built from
	Version   string `json:"Version"`   // as git describes it
	BuildTime string `json:"BuildTime"` // in UTC
}
