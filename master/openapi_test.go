// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// shapes are what the collections hold: an object, and what inspect says of one.
var shapes = map[string]struct{ object, inspect any }{
	api.Tenants: {api.Tenant{}, api.TenantInspect{}}, api.Networks: {api.Network{}, api.NetworkInspect{}},
	api.EndpointGroups: {api.EndpointGroup{}, api.EndpointGroupInspect{}}, api.Policies: {api.Policy{}, api.PolicyInspect{}},
	api.Rules: {api.Rule{}, api.Inspect[api.Rule, struct{}]{}}, api.Netprofiles: {api.Netprofile{}, api.NetprofileInspect{}},
	api.ServiceLBs: {api.ServiceLB{}, api.ServiceLBInspect{}}, api.BGPs: {api.BGP{}, api.BGPInspect{}},
	api.AppProfiles: {api.AppProfile{}, api.AppProfileInspect{}}, api.ExtContractsGroups: {api.ExtContractsGroup{}, api.ExtContractsGroupInspect{}},
	api.ACIGateways: {api.ACIGateway{}, api.ACIGatewayInspect{}}, api.Globals: {api.Global{}, api.Inspect[api.Global, globalOper]{}},
	api.Endpoints: {api.Endpoint{}, api.EndpointInspect{}}, api.Nodes: {api.Node{}, api.Inspect[api.Node, nodeOper]{}},
}

// others are the routes that no collection has.
var others = map[string]struct {
	says       string
	asks, gets any
}{
	"GET /version":                                 {"Which version the master is.", nil, api.Version{}},
	"GET /info":                                    {"The masters and the nodes, as v1 told them. There is no leader: each master says that it is the one.", nil, map[string]any{}},
	"GET " + api.OpenAPIPath:                       {"This description.", nil, map[string]any{}},
	"GET " + api.WatchPath:                         {"The World and its changes, a line of JSON each: what agents follow. It does not end.", nil, api.WatchEvent{}},
	"POST " + api.ApplyPath:                        {"Create or update many objects in the order that their references need: all, or where one is refused none.", api.ApplyRequest{}, api.ApplyAnswer{}},
	"GET " + api.ExportPath:                        {"The whole intent, as apply takes it.", nil, api.ApplyRequest{}},
	"GET " + api.DropsPath:                         {"How many packets nodes have dropped, by reason, network and group.", nil, api.Drops{}},
	"GET " + api.RulesPath:                         {"How often rules have decided, on all nodes.", nil, api.RuleCounts{}},
	"GET " + api.ServicesPath:                      {"The providers of services, how they are, and what they have carried, on all nodes.", nil, api.ObservedServices{}},
	"GET " + api.FlowsPath:                         {"Connections as they were opened and refused, a line of JSON each.", nil, api.FlowLine{}},
	"GET " + api.TracePath:                         {"What would become of a connection, by the intent alone.", nil, api.Trace{}},
	"POST /api/v1/nodes/{node}/alive":              {"A node's word that it lives, due every 5 s.", struct{}{}, ""},
	"POST /api/v1/addresses/{network}":             {"Give a node an address of a network before the endpoint is known. Unless an endpoint takes it, it is free again after 120 s.", api.AddressRequest{}, api.Address{}},
	"DELETE /api/v1/addresses/{network}/{address}": {"Give an address back that no endpoint has taken.", nil, ""},
}

// parameters of paths and queries.
var parameters = map[string]string{
	"key": "the object's key, as its field key has it", "node": "the node's name", "network": "the network's key, tenant:network", "address": "the address",
	"revision": "where the watcher is; 0 or left out: nowhere, so the first line is the whole World",
	"dry-run":  "true: check and answer, and write nothing",
	"owner":    "the node that holds the address",
	"tenant":   "a tenant's name; left out: the default tenant of a trace, else every one", "policy": "a policy's name; left out: every one",
	"service": "a service's name; left out: every one",
	"group":   "the name of a group that one of the ends is in; left out: every one", "verdict": "allowed, denied or audited; left out: every one",
	"last": "how many of those that are kept, the newest; left out: 100, at most 4096", "follow": "true: go on with those that come",
	"from": "the sender: a container's name or id, an endpoint's id, a part of one, an address, or group:NAME for one of its containers",
	"to":   "the receiver, named as the sender is", "proto": "tcp, udp, sctp, icmp or a number", "port": "the receiver's; of tcp, udp and sctp alone",
}

// plain are fields that mean the same wherever they are, by their JSON names.
var plain = map[string]string{
	"tenantName": "the tenant's name", "networkName": "the network's name", "groupName": "the group's name", "policyName": "the policy's name",
	"profileName": "the netprofile's name", "serviceName": "the service's name", "appProfileName": "the application profile's name",
	"contractsGroupName": "the name of the contracts", "ruleId": "the rule's name, unique in its policy", "containerName": "the container's name",
	"numEndpoints": "how many endpoints",

	"tenant": "the tenant's name", "name": "its name", "network": "the network's name", "group": "the group's name", "groups": "names of groups",
	"node": "the node's name", "policy": "the policy's name", "netprofile": "the netprofile's name", "tag": "the tag in force",
	"last": "the end of the range", "ipv6": "its IPv6 address",
}

// errorAnswers are the refusals, with what they mean.
var errorAnswers = map[int]string{
	http.StatusBadRequest:            "A field is wrong: the error names it, its value and what would be right.",
	http.StatusNotFound:              "There is no such object, or one that the request names.",
	http.StatusConflict:              "It exists and cannot be changed so, its name, address or tag is taken, or (inUse) others refer to it.",
	http.StatusRequestEntityTooLarge: "The body has more than 1 MiB, of an apply 8 MiB.",
	http.StatusServiceUnavailable:    "The store is away, or the master is starting or stopping. Try again, or at another master.",
}

type object = map[string]any

// describer makes the description, with the schemas of the types that it comes across.
type describer struct {
	comments map[string]string // of a type, by package.Type, and of a field, by package.Type.Field
	schemas  object
	missing  []string // fields without a comment
}

func TestDescriptionIsWhatTheTypesAndRoutesGive(t *testing.T) {
	t.Parallel()
	d := newDescriber(t)
	got := lines(t, d.description(t), 2)
	for _, f := range d.missing {
		t.Errorf("%s has no comment that says what it is", f)
	}
	reference := d.reference(t)
	for file, text := range map[string][]byte{"openapi.json": append(got, '\n'), referenceFile: reference} {
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the types, their comments and the routes give (%v); go test ./master -run Description -update makes it", file, err)
		}
	}
}

// lines is JSON with a line for each path and schema, so that a change shows where it is.
func lines(t *testing.T, v any, depth int) []byte {
	o, ok := v.(object)
	if !ok || depth < 0 {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := []byte("{")
	for i, name := range slices.Sorted(maps.Keys(o)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(fmt.Appendf(b, "\n%q:", name), lines(t, o[name], depth-1)...)
	}
	return append(b, "\n}"...)
}

// newDescriber reads the comments of the packages whose types go over the wire.
func newDescriber(t *testing.T) *describer {
	d := &describer{comments: map[string]string{}, schemas: object{}}
	for _, dir := range []string{"../api", "../model", "."} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range f.Decls {
				if g, ok := decl.(*ast.GenDecl); ok {
					for _, spec := range g.Specs {
						d.read(f.Name.Name, g, spec)
					}
				}
			}
		}
	}
	return d
}

func (d *describer) read(pkg string, g *ast.GenDecl, spec ast.Spec) {
	typ, ok := spec.(*ast.TypeSpec)
	if !ok {
		return
	}
	name := pkg + "." + typ.Name.Name
	d.comments[name] = prose(typ.Doc, g.Doc)
	fields, ok := typ.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range fields.Fields.List {
		for _, n := range f.Names {
			d.comments[name+"."+n.Name] = strings.TrimPrefix(prose(f.Comment, f.Doc), n.Name+" is ")
		}
	}
}

// prose is the first comment that says something, on one line.
func prose(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if words := strings.Fields(g.Text()); len(words) > 0 {
			return strings.Join(words, " ")
		}
	}
	return ""
}

func (d *describer) description(t *testing.T) object {
	paths := object{}
	served := map[string]bool{}
	for _, r := range New(Options{}).routes {
		path := "/" + strings.Join(r.path, "/")
		served[r.method+" "+path] = true
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(r.method)] = d.operation(t, r)
	}
	for route := range others {
		if !served[route] {
			t.Errorf("%s is described and not served", route)
		}
	}
	for name := range d.schemas {
		if strings.Contains(name, ".") {
			t.Errorf("schema %s has the name of a Go package", name)
		}
	}
	responses := object{}
	for status, says := range errorAnswers {
		responses[fmt.Sprint(status)] = object{"description": says, "content": d.content(api.Error{})}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Contiv Network", "version": "v1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "The API of netmaster: the v1 API of Contiv Network, and what is new since. POST and PUT are the same: they create or update. " +
				"What is created again as it is, succeeds and changes nothing. A path may end with a slash or without. A write's answer has the header " + api.RevisionHeader +
				" with the store's revision, which an agent can wait for. Fields and parameters that are unknown are refused by name. A method that a path does not have is answered with 405.",
		},
		"servers":    []object{{"url": api.DefaultMaster}},
		"paths":      paths,
		"components": object{"schemas": d.schemas, "responses": responses},
	}
}

// operation describes a route.
func (d *describer) operation(t *testing.T, r route) object {
	method, path, query := r.method, r.path, r.query
	route := method + " /" + strings.Join(path, "/")
	var out object
	var asks, gets any
	if o, ok := others[route]; ok {
		out, asks, gets = object{"summary": o.says}, o.asks, o.gets
	} else {
		plural, inspect := path[2], path[2] == "inspect"
		if inspect {
			plural = path[3]
		}
		shape, ok := shapes[plural]
		if !ok {
			t.Fatalf("%s is served and not described", route)
		}
		says := "Read one."
		gets = shape.object
		switch {
		case inspect:
			says, gets = "Read one with what has become of it.", shape.inspect
		case method == http.MethodGet && len(path) == 3:
			says, gets = "List all, in the order of their keys.", reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(shape.object)), 0, 0).Interface()
		case method == http.MethodDelete:
			says, gets = "Delete one. The answer is its key.", ""
		case method != http.MethodGet:
			says, asks = "Create one, or update it. The answer is the object as it then is.", shape.object
		}
		out = object{"summary": says, "tags": []string{plural}}
	}
	ok := object{"description": "Done.", "content": d.content(gets)}
	failures := []int{http.StatusServiceUnavailable, http.StatusBadRequest} // of a parameter that there is not, at the least
	if strings.Contains(route, "{") {
		failures = append(failures, http.StatusNotFound)
	}
	if method != http.MethodGet {
		failures = append(failures, http.StatusNotFound, http.StatusConflict)
		ok["headers"] = object{api.RevisionHeader: object{"description": "the store's revision, in decimal", "schema": object{"type": "string"}}}
	}
	if asks != nil {
		failures = append(failures, http.StatusRequestEntityTooLarge)
		out["requestBody"] = object{"content": d.content(asks)}
	}
	if route == "GET "+api.WatchPath || route == "GET "+api.FlowsPath {
		ok["content"] = object{"application/x-ndjson": d.content(gets)["application/json"]}
	}
	responses := object{"200": ok}
	for _, status := range failures {
		responses[fmt.Sprint(status)] = object{"$ref": fmt.Sprint("#/components/responses/", status)}
	}
	out["responses"] = responses
	var list []object
	for _, part := range path {
		if name, is := strings.CutPrefix(part, "{"); is {
			name = strings.TrimSuffix(name, "}")
			list = append(list, object{"name": name, "in": "path", "required": true, "description": parameters[name], "schema": object{"type": "string"}})
		}
	}
	for _, name := range query {
		if parameters[name] == "" {
			t.Errorf("parameter %s of %s is not described", name, route)
		}
		list = append(list, object{"name": name, "in": "query", "description": parameters[name], "schema": object{"type": "string"}})
	}
	if list != nil {
		out["parameters"] = list
	}
	return out
}

func (d *describer) content(v any) object {
	return object{"application/json": object{"schema": d.schema(reflect.TypeOf(v))}}
}

// schema describes how a Go type is written in JSON.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[netip.Addr]():
		return object{"type": "string", "description": "an IPv4 or IPv6 address, as 10.1.1.5"}
	case t == reflect.TypeFor[netip.Prefix]():
		return object{"type": "string", "description": "a subnet, as 10.1.1.0/24"}
	case t == reflect.TypeFor[model.MAC]():
		return object{"type": "string", "description": "an Ethernet address, as 02:02:0a:01:01:05"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		panic(fmt.Sprint(t, " is not described"))
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Uint16, reflect.Uint32:
		return object{"type": "integer", "minimum": 0, "maximum": uint64(1)<<t.Bits() - 1}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Array:
		return object{"type": "array", "items": d.schema(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		if strings.Contains(t.Name(), "[") || t.Name() == "" { // Inspect, or what has nothing in it
			return d.fields(t, "")
		}
		pkg, name, _ := strings.Cut(t.String(), ".")
		name = strings.ToUpper(name[:1]) + name[1:]
		if pkg == "model" { // as agents are told of it; the API's own shape has the same name
			name = "Stored" + name
		}
		if _, known := d.schemas[name]; !known {
			d.schemas[name] = object{} // it may have itself in it
			d.schemas[name] = d.fields(t, t.String())
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	panic(fmt.Sprint(t, " is not described"))
}

// fields describes a struct. Nothing is required: what the URL says may be left out of a request, and what is empty of an answer.
func (d *describer) fields(t reflect.Type, comments string) object {
	properties := object{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if f.Anonymous && name == "" { // its fields are the struct's own
			maps.Copy(properties, d.fields(f.Type, f.Type.String())["properties"].(object))
			continue
		}
		one := d.schema(f.Type)
		says := d.comments[comments+"."+f.Name]
		if says == "" {
			says = cmp.Or(plain[name], d.comments[f.Type.String()])
		}
		switch {
		case comments != "" && says == "":
			d.missing = append(d.missing, comments+"."+f.Name)
		case says != "":
			one["description"] = says
		}
		if f.Type == reflect.TypeFor[json.RawMessage]() {
			one["anyOf"] = d.anyObject(t)
		}
		if strings.Contains(options, "string") {
			panic("unexpected option " + options)
		}
		properties[name] = one
	}
	out := object{"type": "object", "additionalProperties": false}
	if len(properties) > 0 {
		out["properties"] = properties
	}
	if says := d.comments[comments]; says != "" {
		out["description"] = says
	}
	return out
}

// anyObject is what a field of a struct can hold that takes objects of all kinds.
func (d *describer) anyObject(of reflect.Type) (out []object) {
	if of == reflect.TypeFor[api.ApplyObject]() {
		for _, n := range intent() {
			out = append(out, d.schema(reflect.TypeOf(shapes[n.plural].object)))
		}
		return out
	}
	world := reflect.TypeFor[model.World]()
	for i := range world.NumField() {
		if get, is := world.Field(i).Type.MethodByName("Get"); is { // a table
			out = append(out, d.schema(get.Type.Out(0)))
		}
	}
	return out
}

const referenceFile = "../docs/reference/api.md"

// reference is the operators' page with the tables between its markers made anew.
func (d *describer) reference(t *testing.T) []byte {
	page, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- made from the Go types: begin -->\n", "<!-- end -->\n"
	head, rest, found := strings.Cut(string(page), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has not both markers", referenceFile)
	}
	var b strings.Builder
	for _, n := range append(intent(), endpoints(), New(Options{}).nodes()) {
		plural := n.plural
		fmt.Fprintf(&b, "\n### %s\n\n", plural)
		typ := reflect.TypeOf(shapes[plural].object)
		fmt.Fprintf(&b, "%s\n\n", d.comments[typ.String()])
		d.table(&b, "Field", typ)
		if oper, ok := reflect.TypeOf(shapes[plural].inspect).FieldByName("Oper"); ok && oper.Type.NumField() > 0 {
			d.table(&b, "Oper", oper.Type)
		}
	}
	return []byte(head + begin + b.String() + "\n" + end + tail)
}

func (d *describer) table(b *strings.Builder, title string, t reflect.Type) {
	fmt.Fprintf(b, "| %s | type | meaning |\n|---|---|---|\n", title)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type == reflect.TypeFor[api.LinkSets]() || f.Type == reflect.TypeFor[api.Links]() {
			continue // told once for all
		}
		says := d.comments[t.String()+"."+f.Name]
		if says == "" {
			says = cmp.Or(plain[name], d.comments[f.Type.String()])
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, word(f.Type), strings.ReplaceAll(says, "|", `\|`))
	}
	fmt.Fprintln(b)
}

// word names a type as JSON has it.
func word(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		if t != reflect.TypeFor[model.MAC]() {
			return "list"
		}
	case reflect.Pointer:
		return word(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.Map:
		return "object"
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint32:
		return "number"
	}
	return "string"
}
