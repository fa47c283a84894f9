// SPDX-License-Identifier: Apache-2.0

// Package alloc finds the next free number or address of a World. It is pure: what it gives is not taken until
// a transaction says so.
//
// What bites: nothing here walks a subnet, only what is taken in it, so a /8 costs no more than a /24. Keep it so.
package alloc
