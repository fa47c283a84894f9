// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/contivnet/contiv/model"
)

// record is what this node alone knows of an endpoint.
type record struct {
	Endpoint model.Endpoint `json:"endpoint"`
	Sandbox  string         `json:"sandbox,omitempty"` // the namespace's path; "" until the container is attached
	// Since is when the runtime announced it, or attached it last or, if that was in an earlier run, when this one began: a clock that is set
	// between two runs must not make it look old.
	Since time.Time `json:"-"`
}

// records are kept in memory and, one file each, on disk: a runtime announces an endpoint in one call and
// attaches it in another, and this process may be killed in between.
type records struct {
	dir string
	mu  *sync.Mutex
	all map[string]record
}

func openRecords(dir string) (records, error) {
	r := records{dir: dir, mu: &sync.Mutex{}, all: map[string]record{}}
	files, err := openDir(dir)
	if err != nil {
		return r, err
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return r, fmt.Errorf("read what the last run knew: %w", err)
		}
		var rec record
		if json.Unmarshal(b, &rec) != nil || rec.Endpoint.ID == "" {
			// Half written by a machine that went down. The sweep finds whatever it was about.
			_ = os.Remove(filepath.Join(dir, f.Name()))
			continue
		}
		rec.Since = time.Now()
		r.all[rec.Endpoint.ID] = rec
	}
	return r, nil
}

func (r records) get(id string) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.all[id]
	return rec, ok
}

func (r records) list() map[string]record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]record, len(r.all))
	for id, rec := range r.all {
		out[id] = rec
	}
	return out
}

func (r records) put(rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode endpoint %s: %w", rec.Endpoint.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := writeFile(filepath.Join(r.dir, fileName(rec.Endpoint.ID)), b); err != nil {
		return err
	}
	r.all[rec.Endpoint.ID] = rec
	return nil
}

func (r records) remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, id)
	return removeFile(filepath.Join(r.dir, fileName(id)))
}

// fileName is a name for any id, which a runtime may have chosen freely.
func fileName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// openDir makes the directory if need be and lists it.
func openDir(dir string) ([]fs.DirEntry, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the state directory: %w", err)
	}
	whole := files[:0]
	for _, f := range files {
		if filepath.Ext(f.Name()) == tempSuffix {
			_ = os.Remove(filepath.Join(dir, f.Name())) // cut short
			continue
		}
		whole = append(whole, f)
	}
	return whole, nil
}

const tempSuffix = ".new"

// writeFile replaces the file at once or not at all. It is not flushed to the disk: what it says is about
// processes that do not outlive the machine, or can be found out again.
func writeFile(path string, b []byte) error {
	return writeTo(path, func(f io.Writer) error {
		_, err := f.Write(b)
		return err
	})
}

// writeTo puts a file in place once all of it is written.
func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(path+tempSuffix, path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}
