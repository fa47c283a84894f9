// SPDX-License-Identifier: Apache-2.0

package main

// shared is what contestants use together: the first makes it, the last takes it down. Where making it has failed, it fails for all who
// come while somebody uses it; then it is tried anew.
type shared struct {
	users  int
	made   bool
	broken error
}

// take has it made for the first user.
func (s *shared) take(makeIt func() error) error {
	s.users++
	if !s.made {
		s.made, s.broken = true, makeIt()
	}
	return s.broken
}

// release takes it down for the last user.
func (s *shared) release(down func() error) error {
	if s.users--; s.users > 0 {
		return nil
	}
	s.made = false
	return down()
}
