// SPDX-License-Identifier: Apache-2.0

// Package test holds the tests of whole systems: real masters, agents and Docker engines on hosts that are namespaces of
// this machine, driven as a user would, by docker and netctl.
package test
