// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Questions is the program on lo of containers that gives questions for names the port where we listen (bpf/question.c): those that do
// not leave the container. All that were attached by one Questions stop together, when nobody has called Keep for long enough: questions
// go then where they are sent.
type Questions struct{ until *ebpf.Map }

// QuestionsOptions are those of one container.
type QuestionsOptions struct {
	Mark uint32 // of all that we send there
	Port uint16 // where we listen
	// WayOut4 and WayOut6 are the devices by which questions to others go on that were brought to lo, by their index there; 0: none are.
	WayOut4, WayOut6 int
}

const (
	questionsName     = "contiv-questions"
	questionsPriority = 5399
	loopback          = 1 // the index of lo in every namespace
)

// NewQuestions makes what the programs of one run share. It needs no Datapath.
func NewQuestions() (*Questions, error) {
	spec, err := loadQuestion()
	if err != nil {
		return nil, fmt.Errorf("read the built-in program for questions: %w", err)
	}
	m, err := ebpf.NewMap(spec.Maps[questionMapListening])
	if err != nil {
		return nil, fmt.Errorf("make the map for questions: %w", err)
	}
	return &Questions{until: m}, nil
}

// Keep has questions turned for as long, from now.
func (q *Questions) Keep(life time.Duration) error {
	until, err := clockAfter(life)
	if err != nil {
		return err
	}
	if err := q.until.Put(uint32(0), until); err != nil {
		return fmt.Errorf("keep questions turned: %w", err)
	}
	return nil
}

// Close lets go of the programs, which end as Keep left them.
func (q *Questions) Close() error { return q.until.Close() }

// Attach puts a program on lo in the namespace of the calling thread, in place of what an earlier run left.
func (q *Questions) Attach(o QuestionsOptions) error {
	spec, err := loadQuestion()
	if err != nil {
		return fmt.Errorf("read the built-in program for questions: %w", err)
	}
	for name, value := range map[string]any{
		questionVarOurMark: o.Mark, questionVarOurPort: [2]byte{byte(o.Port >> 8), byte(o.Port)},
		questionVarWayOut4: uint32(o.WayOut4), questionVarWayOut6: uint32(o.WayOut6),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{questionMapListening: q.until}})
	if err != nil {
		return fmt.Errorf("load the program for questions: %w", err)
	}
	defer objects.Close() // lo keeps it
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: loopback, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("add a clsact qdisc to lo: %w", err)
	}
	f := questionsFilter()
	f.Fd = objects.Programs["from_lo"].FD()
	if err := netlink.FilterReplace(f); err != nil {
		return fmt.Errorf("attach the program for questions to lo: %w", err)
	}
	return nil
}

// QuestionsAttached tells whether a program is on lo in the namespace of the calling thread.
func QuestionsAttached() (bool, error) {
	filters, err := questionsOnLo()
	if err != nil {
		return false, err
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name == questionsName {
			return true, nil
		}
	}
	return false, nil
}

// DetachQuestions takes the program off lo in the namespace of the calling thread, if it is there.
func DetachQuestions() error {
	there, err := QuestionsAttached()
	if err != nil || !there {
		return err
	}
	if err := netlink.FilterDel(questionsFilter()); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("take the program for questions off lo: %w", err)
	}
	// The qdisc may be another's who has nothing there just now; who has would lose it.
	return nil
}

func questionsOnLo() ([]netlink.Filter, error) {
	lo, err := netlink.LinkByIndex(loopback)
	if err != nil {
		return nil, fmt.Errorf("find lo: %w", err)
	}
	filters, err := netlink.FilterList(lo, netlink.HANDLE_MIN_INGRESS)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) { // no qdisc
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list what is attached to lo: %w", err)
	}
	return filters, nil
}

func questionsFilter() *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: loopback, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: questionsPriority, Protocol: unix.ETH_P_ALL,
		},
		Name: questionsName, DirectAction: true,
	}
}
