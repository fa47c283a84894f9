// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	snapshotFile  = "world.json"
	snapshotPause = 10 * time.Second // between two snapshots: a busy cluster would write without end
	snapshotShare = 100              // and this many times as long as the last one took: a World may be large
	snapshotLimit = 5 * time.Minute  // but no longer
)

// snapshotLoop keeps the last World on disk, for a start while every master is down.
func (a *Agent) snapshotLoop(ctx context.Context) error {
	var saved int64
	for {
		next := a.worldChanged.next()
		var pause <-chan time.Time
		if w := a.World(); a.Fresh() && w.Revision != saved {
			began := time.Now()
			if err := saveSnapshot(a.StateDir, w); err != nil {
				a.Log.Warn("the last World is not on disk: a start without masters would not know it", "error", err)
			} else {
				saved = w.Revision
			}
			pause = time.After(min(max(snapshotPause, snapshotShare*time.Since(began)), snapshotLimit))
		}
		if pause != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-pause:
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// A snapshot is the line of a watch that holds the whole World.
func saveSnapshot(dir string, w model.World) error {
	return writeTo(filepath.Join(dir, snapshotFile), func(f io.Writer) error {
		out := bufio.NewWriterSize(f, 64<<10)
		if err := api.WriteWorld(out, w); err != nil {
			return err
		}
		return out.Flush()
	})
}

func loadSnapshot(dir string) (model.World, error) {
	f, err := os.Open(filepath.Join(dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return model.World{}, nil
	}
	if err != nil {
		return model.World{}, fmt.Errorf("read the snapshot: %w", err)
	}
	defer f.Close()
	c, err := api.ReadChange(json.NewDecoder(bufio.NewReaderSize(f, 64<<10)))
	if err != nil {
		return model.World{}, fmt.Errorf("decode the snapshot: %w", err)
	}
	return model.World{}.With(c), nil
}

// equalJSON tells whether two values look the same from outside.
func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
