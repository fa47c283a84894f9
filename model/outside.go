// SPDX-License-Identifier: Apache-2.0

package model

// A node's way to the outside is a pair of devices: its own stack is at OutsideDevice, the data path at OutsidePort.
const (
	OutsideDevice = "contivh0"
	OutsidePort   = "vvcontivh0"
)
