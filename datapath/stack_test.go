// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// The kernel's verifier gives a chain of calls 512 bytes of stack. Before 6.8 or so it rounds each function's up to 32 bytes, and it counts
// calls that settings make impossible. The kernel that runs the tests may be kinder (check_max_stack_depth in kernel/bpf/verifier.c).
const (
	stackLimit = 512
	stackRound = 32
)

// function is what one takes of the stack, and whom it calls.
type function struct {
	frame int
	calls []string
}

func functionsOf(instructions asm.Instructions) map[string]*function {
	all := map[string]*function{}
	var now *function
	var copies [11]bool // registers that hold the frame's address
	for _, ins := range instructions {
		if s := ins.Symbol(); s != "" {
			now, copies = &function{}, [11]bool{}
			all[s] = now
		}
		if ins.IsFunctionCall() {
			now.calls = append(now.calls, ins.Reference())
		}
		reaches := func(offset int64) { now.frame = max(now.frame, int(-offset)) }
		class, op := ins.OpCode.Class(), ins.OpCode
		switch {
		case class.IsLoad() && ins.Src == asm.RFP, class.IsStore() && ins.Dst == asm.RFP:
			reaches(int64(ins.Offset))
		case class.IsALU() && op.ALUOp() == asm.Mov && ins.Dst < asm.RFP:
			copies[ins.Dst] = op.Source() == asm.RegSource && ins.Src == asm.RFP
		case class.IsALU() && op.ALUOp() == asm.Add && op.Source() == asm.ImmSource && copies[ins.Dst]:
			reaches(ins.Constant)
			copies[ins.Dst] = false
		}
	}
	return all
}

// deepest is the chain of calls from a function that takes most, and how much.
func deepest(all map[string]*function, name string) (total int, chain []string) {
	f := all[name]
	for _, callee := range f.calls {
		if n, c := deepest(all, callee); n > total {
			total, chain = n, c
		}
	}
	rounded := (max(f.frame, 1) + stackRound - 1) / stackRound * stackRound
	return total + rounded, slices.Insert(chain, 0, fmt.Sprint(name, " ", f.frame))
}

func TestStackIsEnoughOnKernelsThatRoundUpMore(t *testing.T) {
	t.Parallel()
	spec, err := loadContiv()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range spec.Programs {
		all := functionsOf(p.Instructions)
		total, chain := deepest(all, name)
		if name != "tell_time" && (len(all) < 2 || all[name].frame == 0) { // those that are for packets
			t.Errorf("%s has %d functions and a frame of %d bytes: this is not read right", name, len(all), all[name].frame)
		}
		if total > stackLimit {
			t.Errorf("%s takes %d of %d bytes: %s", name, total, stackLimit, strings.Join(chain, " → "))
		}
		t.Logf("%s takes %d of %d bytes: %s", name, total, stackLimit, strings.Join(chain, " → "))
	}
}
