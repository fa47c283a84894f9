// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

// quantile is the value below which the share q (0..1) of v lies, between neighbours by their distance.
// 0 for no values. v is left as it is.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (s[i+1]-s[i])*(at-float64(i))
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// spread is half of the distance between the quartiles: what follows ± in the table.
func spread(v []float64) float64 { return (quantile(v, 0.75) - quantile(v, 0.25)) / 2 }
