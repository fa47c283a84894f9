// SPDX-License-Identifier: Apache-2.0

package master

import (
	"sort"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// maxFeed bounds what a feed holds, in bytes.
const maxFeed = 32 << 20

// feed is the recent changes, encoded once for all watchers.
type feed struct {
	lines []line
	base  int64 // everything after this revision is in lines
	max   int   // lines
	size  int   // bytes
}

type line struct {
	revision int64
	text     []byte // with its newline
}

func lineOf(c model.Change) (line, error) {
	if c.Reset || c.Empty() {
		return line{}, nil // not kept
	}
	text, err := api.AppendChange(nil, c)
	return line{c.Revision, text}, err
}

// reset forgets everything up to the revision.
func (f *feed) reset(revision int64) { f.lines, f.base, f.size = nil, revision, 0 }

func (f *feed) add(l line) {
	f.lines, f.size = append(f.lines, l), f.size+len(l.text)
	for len(f.lines) > f.max || f.size > maxFeed && len(f.lines) > 0 {
		f.base, f.size = f.lines[0].revision, f.size-len(f.lines[0].text)
		f.lines[0] = line{}
		f.lines = f.lines[1:]
	}
}

// after is what came after the revision, at most 256 lines of it. ok is false when that is forgotten.
func (f *feed) after(revision int64) (lines []line, ok bool) {
	if revision < f.base {
		return nil, false
	}
	i := sort.Search(len(f.lines), func(i int) bool { return f.lines[i].revision > revision })
	return append(lines, f.lines[i:min(i+256, len(f.lines))]...), true
}
