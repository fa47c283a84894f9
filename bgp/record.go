// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// record is what a run leaves for the next: that it spoke, and which addresses it has given to devices. It goes at a reboot, as they do.
type record struct {
	Given []given `json:"given"`
}

// given is an address that a device did not have before.
type given struct {
	Device string       `json:"device"`
	Addr   netip.Prefix `json:"addr"`
}

const recordFile = "bgp.json"

// loadRecord reads the last run's; there is none where it did not speak.
func loadRecord(dir string) (r record, there bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read what the last run left of BGP: %w", err)
	}
	return r, true, nil
}

// save writes the record whole or not at all.
func (r record) save(dir string) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, recordFile+".new"), b, 0o600)
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, recordFile+".new"), filepath.Join(dir, recordFile))
	}
	if err != nil {
		return fmt.Errorf("note what BGP has changed on this node: %w", err)
	}
	return nil
}

// removeRecord succeeds also where there is none.
func removeRecord(dir string) error {
	if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what is noted of BGP: %w", err)
	}
	return nil
}
