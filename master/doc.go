// SPDX-License-Identifier: Apache-2.0

// Package master serves the v1 API: it checks what users, agents and runtimes ask for against the World, allocates what they
// leave open, and writes it in one transaction that takes effect only while what it was decided on is still so.
//
// Any number of masters work on one store as equals. What one of them keeps in memory (the World, addresses on their
// way into the store, recent changes for watchers) can be lost at any moment without harm.
//
// What bites: a check belongs into the function that is given to transact, as that is done again when another
// master was faster. What it looks at must be guarded in the transaction, or two masters will each be right alone.
package master
