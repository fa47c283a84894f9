// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"math/bits"

	"github.com/contivnet/contiv/compile"
)

// rangeKeyBits are those of a contivRangeKey before the port: bank, role and protocol.
const rangeKeyBits = 80

// rangeRows tell for each port of the ranges of a role with which port its range begins. A range is as many rows as it takes blocks of ports that
// have their first bits in common: at most 30.
func rangeRows(verdicts []compile.Verdict) table[contivRangeKey, uint32] {
	type span struct {
		role       uint32
		protocol   int16
		port, last uint16
	}
	var out table[contivRangeKey, uint32]
	done := map[span]bool{} // of another class
	for _, v := range verdicts {
		s := span{v.Role, v.Protocol, v.Port, v.End}
		if v.End == 0 || done[s] {
			continue
		}
		done[s] = true
		for port, last := uint32(v.Port), uint32(v.End); port <= last; {
			length := 16
			for length > 0 { // the largest block that begins here and does not reach beyond
				size := uint32(1) << (17 - length)
				if port%size != 0 || port+size-1 > last {
					break
				}
				length--
			}
			out = append(out, row[contivRangeKey, uint32]{
				contivRangeKey{Bits: rangeKeyBits + uint32(length), Role: v.Role, Proto: uint16(v.Protocol), Port: bits.ReverseBytes16(uint16(port))}, uint32(v.Port),
			})
			port += 1 << (16 - length)
		}
	}
	return out.sorted(compareRangeKey)
}

func compareRangeKey(a, b contivRangeKey) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Proto, b.Proto),
		cmp.Compare(bits.ReverseBytes16(a.Port), bits.ReverseBytes16(b.Port)), cmp.Compare(a.Bits, b.Bits))
}

func (k contivRangeKey) inBank(bank int) contivRangeKey {
	k.Bank = uint32(bank)
	return k
}

func (k contivRangeKey) bank() int { return int(k.Bank) }
