// SPDX-License-Identifier: Apache-2.0

package model

// Rate is how much may pass an interface in one direction. The zero Rate lets all pass.
type Rate struct {
	BitsPerSecond uint64 `json:"bitsPerSecond"`   // 0: any
	Burst         uint32 `json:"burst,omitempty"` // bytes that may go at once; 0: chosen by the node
}

// The least that a Rate may be, in bits per second, and the least of its burst, in bytes.
const (
	MinRate      = 1000
	minRateBurst = MinBurst << 10
)

// check refuses what no queue can hold. field is the API's.
func (r Rate) check(field string) error {
	switch {
	case r.BitsPerSecond == 0 && r.Burst != 0:
		return Invalid(field, "%s has a burst and no rate; give both, or the rate alone", field)
	case r == Rate{}:
		return nil
	case r.BitsPerSecond < MinRate || r.BitsPerSecond > maxBandwidth:
		return Invalid(field, "%s %d bit/s is out of bounds; use %d to %.0f", field, r.BitsPerSecond, MinRate, maxBandwidth)
	case r.Burst != 0 && (r.Burst < minRateBurst || r.Burst > MaxBurst<<10):
		return Invalid(field, "%s has a burst of %d bytes, which is out of bounds; use %d to %d, or 0 to leave it to the node", field, r.Burst, minRateBurst, MaxBurst<<10)
	}
	return nil
}
