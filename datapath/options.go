// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// DefaultPinDir is where pins go unless Options say otherwise.
const DefaultPinDir = "/sys/fs/bpf/contiv"

// AttachMode is how programs are attached to devices.
type AttachMode string

const (
	AttachAuto   AttachMode = "auto"   // tcx where the kernel has it; a new port by clsact first
	AttachTCX    AttachMode = "tcx"    // kernel 6.6; 16 ms to attach, 1-2 % less work a packet
	AttachClsact AttachMode = "clsact" // every kernel; 0.15 ms to attach
)

// Overhead is what VXLAN from the VTEP address adds to a packet, in bytes: an outer IPv4 header (20) or IPv6 header (40), UDP (8),
// VXLAN (8) and the inner Ethernet header (14).
func Overhead(vtep netip.Addr) int {
	if vtep.Unmap().Is4() {
		return 50
	}
	return 70
}

// minMTU leaves containers the 1280 bytes that IPv6 needs.
func minMTU(vtep netip.Addr) int { return 1280 + Overhead(vtep) }

// Options say where a Datapath works. The zero value of a field is its default where one is named.
type Options struct {
	PinDir    string     // a directory in a bpffs, made if absent; default DefaultPinDir
	Uplink    string     // the device that has the VTEP address
	VTEP      netip.Addr // this node's end of tunnels; those of all nodes are of one family
	VXLANPort uint16     // UDP, the same on all nodes; default 4789
	Uplinks   []string   // the devices on whose wire VLANs are, the one that is used until UseUplink names another first; none by default
	Attach    AttachMode // default AttachAuto
	MTU       int        // of the underlay, in bytes; default the uplink's
	Flows4    uint32     // entries of the IPv4 flow cache; one for each pair of addresses and protocol; default 65536 (about 10 MiB of kernel memory)
	Flows6    uint32     // entries of the IPv6 flow cache; default 16384 (about 3 MiB)
	// Connections4 is how many are kept of endpoints that have rules; default 1048576. Each takes 96 bytes of kernel memory while
	// it is there, and its place in the table 16 always: 112 in all.
	Connections4 uint32
	// Connections6 is the same for IPv6; default 131072. Each takes 128 bytes always.
	Connections6 uint32
	// Translations is how many are kept of connections to services, two for each; default 524288. Each takes 192 bytes of kernel
	// memory while it is there, and its place in the table 16 always.
	Translations uint32
	Log          *slog.Logger // default none

	decapFrom uint32 // kernel version from which BPF_F_ADJ_ROOM_DECAP_L3_IPV6 is used; for tests
}

func (o Options) withDefaults() Options {
	if o.PinDir == "" {
		o.PinDir = DefaultPinDir
	}
	if o.VXLANPort == 0 {
		o.VXLANPort = 4789
	}
	if o.decapFrom == 0 {
		o.decapFrom = kernelDecapProtocol
	}
	if o.Attach == "" {
		o.Attach = AttachAuto
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) check() error {
	switch o.Attach {
	case AttachAuto, AttachTCX, AttachClsact:
	default:
		return fmt.Errorf("attach mode %q is unknown; use %s, %s or %s", o.Attach, AttachAuto, AttachTCX, AttachClsact)
	}
	if !o.VTEP.IsValid() {
		return errors.New("no VTEP address is given: name one of the uplink's")
	}
	if o.Uplink == "" {
		return errors.New("no uplink is given: name the device that has the VTEP address")
	}
	if need := minMTU(o.VTEP); o.MTU != 0 && o.MTU < need {
		return fmt.Errorf("the underlay's MTU of %d bytes is too small: IPv6 in VXLAN needs %d", o.MTU, need)
	}
	return nil
}

// The oldest kernel that has all that the programs use: atomics that return a value, and headers written by eBPF
// that say what they encapsulate.
const (
	kernelNeeded     = 5<<16 | 15<<8
	kernelNeededText = "5.15"
	// BPF_F_ADJ_ROOM_DECAP_L3_IPV6; without it IPv6 out of tunnels takes more steps.
	kernelDecapProtocol = 6<<16 | 3<<8
)

func checkMachine(pinDir string) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed to program the kernel: start as root")
	}
	kernel, err := features.LinuxVersionCode()
	if err != nil {
		return fmt.Errorf("read the kernel's version: %w", err)
	}
	if kernel < kernelNeeded {
		return fmt.Errorf("kernel %d.%d is too old: the data path needs %s or later", kernel>>16, kernel>>8&0xff, kernelNeededText)
	}
	return checkBPFFS(pinDir)
}

// checkBPFFS looks at the closest directory that exists, as pinDir itself may not yet.
func checkBPFFS(pinDir string) error {
	var st unix.Statfs_t
	for dir := pinDir; ; dir = filepath.Dir(dir) {
		err := unix.Statfs(dir, &st)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for a bpffs at %s: %w", dir, err)
		}
		if st.Type != unix.BPF_FS_MAGIC {
			return fmt.Errorf("%s is not in a bpffs, so nothing would outlive this process: mount one with 'mount -t bpf bpf /sys/fs/bpf'", pinDir)
		}
		return nil
	}
}
