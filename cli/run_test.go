// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// outcome is what a run of netctl leaves.
type outcome struct {
	exit           int
	stdout, stderr string
}

// netctl runs the program with NETMASTER at url. The arguments are separated by blanks.
func netctl(t *testing.T, url, args string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit := Run(t.Context(), strings.Fields(args), Env{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(name string) string { return map[string]string{"NETMASTER": url}[name] },
		Build:  api.Version{Version: "1.2.3", GitCommit: "abcdef0", BuildTime: "2026-01-02"},
	})
	return outcome{exit, stdout.String(), stderr.String()}
}

// fill gives the master two tenants with networks of equal names and subnets, nodes and endpoints.
func fill(t *testing.T, m *master) {
	for _, name := range []string{"default", "blue", "empty"} {
		m.put(t, api.Tenants, name, api.Tenant{Key: name, TenantName: name})
	}
	for _, n := range []api.Network{
		{TenantName: "default", NetworkName: "web", NwType: "data", Encap: "vxlan", Subnet: "10.1.2.0/24", Gateway: "10.1.2.254"},
		{TenantName: "default", NetworkName: "contiv-vlan", NwType: "data", Encap: "vlan", PktTag: 112, Subnet: "10.1.3.0/24",
			IPv6Subnet: "2001:db8:3::/64", IPv6Gateway: "2001:db8:3::1", CfgdTag: "mine"},
		{TenantName: "blue", NetworkName: "web", NwType: "data", Encap: "vxlan", Subnet: "10.1.2.0/24"},
	} {
		n.Key = model.NetworkKey(n.TenantName, n.NetworkName)
		m.put(t, api.Networks, n.Key, n)
	}
	m.put(t, api.Nodes, "node1", api.Node{Key: "node1", NodeName: "node1", VtepIP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789,
		MTU: 1500, Version: "1.2.3", State: api.NodeUp, NumEndpoints: 2})
	m.put(t, api.Nodes, "node2", api.Node{Key: "node2", NodeName: "node2", VtepIP: netip.MustParseAddr("192.168.2.11"), VXLANPort: 4789,
		State: api.NodeDown, NumEndpoints: 1})
	for _, e := range []api.Endpoint{
		{EndpointID: "aaaaaaaaaaaaaaaaaaaa", TenantName: "default", NetworkName: "web", HomingHost: "node1", ContainerName: "c10",
			IPv4Address: netip.MustParseAddr("10.1.2.10")},
		{EndpointID: "bbbbbbbbbbbbbbbbbbbb", TenantName: "default", NetworkName: "web", HomingHost: "node2", ContainerID: "0123456789abcdef",
			IPv4Address: netip.MustParseAddr("10.1.2.9"), IPv6Address: netip.MustParseAddr("2001:db8::9")},
		{EndpointID: "cc", TenantName: "blue", NetworkName: "web", HomingHost: "gone", ContainerName: "c1",
			IPv4Address: netip.MustParseAddr("10.1.2.1")},
	} {
		e.Key, e.MACAddress = e.EndpointID, model.MACOf(e.IPv4Address)
		m.put(t, api.Endpoints, e.Key, e)
	}
	m.put(t, api.Globals, "global", api.GlobalOf(model.DefaultGlobal()))
}

func TestListsAreTablesInOrder(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	for args, want := range map[string]string{
		"tenant ls": `
Name
------
blue
default
empty
`,
		"net ls": `
Tenant   Network      Nw Type  Encap type  Packet tag  Subnet       Gateway     IPv6Subnet       IPv6Gateway    Cfgd Tag
------   -------      -------  ----------  ----------  -------      ------      ----------       -----------    ---------
default  contiv-vlan  data     vlan        112         10.1.3.0/24              2001:db8:3::/64  2001:db8:3::1  mine
default  web          data     vxlan       0           10.1.2.0/24  10.1.2.254
`,
		"network list -all": `
Tenant   Network      Nw Type  Encap type  Packet tag  Subnet       Gateway     IPv6Subnet       IPv6Gateway    Cfgd Tag
------   -------      -------  ----------  ----------  -------      ------      ----------       -----------    ---------
blue     web          data     vxlan       0           10.1.2.0/24
default  contiv-vlan  data     vlan        112         10.1.3.0/24              2001:db8:3::/64  2001:db8:3::1  mine
default  web          data     vxlan       0           10.1.2.0/24  10.1.2.254
`,
		"net ls -t empty": `
Tenant  Network  Nw Type  Encap type  Packet tag  Subnet   Gateway  IPv6Subnet  IPv6Gateway  Cfgd Tag
------  -------  -------  ----------  ----------  -------  ------   ----------  -----------  ---------
`,
		"node ls": `
Node   State  VTEP          MTU   Endpoints  Version
----   -----  ----          ---   ---------  -------
node1  up     192.168.2.10  1500  2          1.2.3
node2  down   192.168.2.11        1
`,
		"ep ls -a": `
Tenant   Network  Endpoint      Container     Node   State  IP         IPv6         MAC
------   -------  --------      ---------     ----   -----  --         ----         ---
blue     web      cc            c1            gone   down   10.1.2.1                02:02:0a:01:02:01
default  web      bbbbbbbbbbbb  0123456789ab  node2  down   10.1.2.9   2001:db8::9  02:02:0a:01:02:09
default  web      aaaaaaaaaaaa  c10           node1  up     10.1.2.10               02:02:0a:01:02:0a
`,
		"net ls -q":           "\ncontiv-vlan\nweb\n",
		"net ls --quiet=true": "\ncontiv-vlan\nweb\n",
		"endpoint ls -q":      "\nbbbbbbbbbbbbbbbbbbbb\naaaaaaaaaaaaaaaaaaaa\n",
		"node ls -q":          "\nnode1\nnode2\n",
		"tenant list -q":      "\nblue\ndefault\nempty\n",
		"net ls -t empty -q":  "\n",
		"net ls -t empty -j":  "\n[]\n",
		"ep ls -t empty --json": `
[]
`,
		"global info": `
Fabric mode: default
Forward mode: routing
ARP mode: proxy
Vlan Range: 1-4094
Vxlan range: 1-10000
Private subnet: 172.19.0.0/16
`,
	} {
		got := netctl(t, url, args)
		if got.exit != ExitDone || "\n"+got.stdout != want || got.stderr != "" {
			t.Errorf("netctl %s: exit %d, stderr %q, stdout:\n%swanted:%s", args, got.exit, got.stderr, got.stdout, want)
		}
	}
}

func TestJSONGoesBeforeQuietAndKeepsWhatTheMasterWrote(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	m.put(t, api.Tenants, "blue", map[string]any{"tenantName": "blue", "newer": "a<b"})
	m.put(t, api.Tenants, "azure", map[string]any{"tenantName": "azure"})
	got := netctl(t, url, "tenant ls -q -j")
	want := `[
  {
    "tenantName": "azure"
  },
  {
    "newer": "a<b",
    "tenantName": "blue"
  }
]
`
	if got.stdout != want || got.exit != ExitDone {
		t.Errorf("exit %d, stderr %q, stdout:\n%s", got.exit, got.stderr, got.stdout)
	}
}

func TestInspectPrintsConfigAndOperIndented(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	m.put(t, api.Tenants, "blue", map[string]any{"tenantName": "blue"})
	m.put(t, api.Networks, "blue:web", map[string]any{"networkName": "web"})
	m.put(t, api.Endpoints, "cc", map[string]any{})
	m.put(t, api.Nodes, "node1", map[string]any{})
	m.put(t, api.Globals, "global", map[string]any{})
	got := netctl(t, url, "tenant inspect blue")
	want := `{
  "Config": {
    "tenantName": "blue"
  },
  "Oper": {
    "newer": "<kept>"
  }
}
`
	if got.stdout != want || got.exit != ExitDone {
		t.Errorf("exit %d, stderr %q, stdout:\n%s", got.exit, got.stderr, got.stdout)
	}
	for args, path := range map[string]string{
		"net inspect web -t blue": "GET /api/v1/inspect/networks/blue:web/",
		"endpoint inspect cc":     "GET /api/v1/inspect/endpoints/cc/",
		"node inspect node1":      "GET /api/v1/inspect/nodes/node1/",
		"global inspect":          "GET /api/v1/inspect/globals/global/",
	} {
		got := netctl(t, url, args)
		if got.exit != ExitDone || !json.Valid([]byte(got.stdout)) || !slices.Contains(m.seen(), path) {
			t.Errorf("netctl %s: exit %d, stderr %q, stdout %q; the master was asked %v", args, got.exit, got.stderr, got.stdout, m.seen())
		}
	}
}

func TestEverySpellingOfCreateAsksForTheSameNetwork(t *testing.T) {
	t.Parallel()
	want := api.Network{Key: "blue:web", TenantName: "blue", NetworkName: "web", NwType: "infra", Encap: "vlan", PktTag: 112,
		Subnet: "10.1.2.0/24", Gateway: "10.1.2.1", IPv6Subnet: "2001:db8::/64", IPv6Gateway: "2001:db8::1", CfgdTag: "mine"}
	for _, args := range []string{
		"network create web --tenant blue --nw-type infra --encap vlan --pkt-tag 112 --subnet 10.1.2.0/24 --gateway 10.1.2.1" +
			" --subnetv6 2001:db8::/64 --gatewayv6 2001:db8::1 --nw-tag mine",
		"net create --tenant=blue --nw-type=infra --encap=vlan --pkt-tag=112 --subnet=10.1.2.0/24 --gateway=10.1.2.1" +
			" --subnetv6=2001:db8::/64 --gatewayv6=2001:db8::1 --nw-tag=mine web",
		"net create -tenant=blue -nw-type infra -encap=vlan -pkt-tag 112 web -subnet=10.1.2.0/24 -gateway 10.1.2.1" +
			" -subnetv6 2001:db8::/64 -gatewayv6=2001:db8::1 -nw-tag=mine",
		"net create -t blue -n infra -e vlan -p 112 -s 10.1.2.0/24 -g 10.1.2.1 -s6 2001:db8::/64 -g6 2001:db8::1 -tag mine web",
		"net create -t=blue -n=infra -e=vlan -p=112 -s=10.1.2.0/24 -g=10.1.2.1 --s6=2001:db8::/64 --g6=2001:db8::1 --tag=mine -- web",
		"-insecure net create --t blue --n infra --e vlan --p 112 --s 10.1.2.0/24 --g 10.1.2.1 -s6=2001:db8::/64 -g6=2001:db8::1 -tag=mine web",
	} {
		m, url := newMaster(t)
		got := netctl(t, url, args)
		if got.exit != ExitDone || got.stdout != "Creating network blue:web\n" || got.stderr != "" {
			t.Errorf("netctl %s: exit %d, stdout %q, stderr %q", args, got.exit, got.stdout, got.stderr)
			continue
		}
		var made, wanted bytes.Buffer
		b, _ := json.Marshal(want)
		if err := errors.Join(json.Compact(&made, m.objects[api.Networks]["blue:web"]), json.Compact(&wanted, b)); err != nil {
			t.Fatal(err)
		}
		if made.String() != wanted.String() {
			t.Errorf("netctl %s asked for\n%s, wanted\n%s", args, &made, &wanted)
		}
	}
}

func TestANetworkMayHaveIPv6Alone(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	got := netctl(t, url, "net create -s6 2001:db8::/64 six")
	if got.exit != ExitDone || m.objects[api.Networks]["default:six"] == nil {
		t.Errorf("exit %d, stderr %q", got.exit, got.stderr)
	}
}

func TestChangesAreToldOnceTheyAreMade(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	for _, step := range []struct{ args, stdout, request string }{
		{"tenant create green", "Creating tenant: green\n", "PUT /api/v1/tenants/green/"},
		{"net create -s 10.9.0.0/16 contiv-net", "Creating network default:contiv-net\n", "PUT /api/v1/networks/default:contiv-net/"},
		{"net rm contiv-net", "Deleting network default:contiv-net\n", "DELETE /api/v1/networks/default:contiv-net/"},
		{"net delete -t blue web", "Deleting network blue:web\n", "DELETE /api/v1/networks/blue:web/"},
		{"tenant rm blue", "Deleting tenant blue\n", "DELETE /api/v1/tenants/blue/"},
		{"tenant delete green", "Deleting tenant green\n", "DELETE /api/v1/tenants/green/"},
		{"node rm node2", "Deleting node node2\n", "DELETE /api/v1/nodes/node2/"},
	} {
		got := netctl(t, url, step.args)
		requests := m.seen()
		if got.exit != ExitDone || got.stdout != step.stdout || requests[len(requests)-1] != step.request {
			t.Errorf("netctl %s: exit %d, stdout %q, stderr %q, last request %s", step.args, got.exit, got.stdout, got.stderr,
				requests[len(requests)-1])
		}
	}
}

func TestWhatIsRefusedIsNotToldAsDone(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	m.refuse["DELETE /api/v1/networks/default:web/"] = api.Error{Status: http.StatusConflict, Text: "network web has endpoints", InUse: true}
	m.refuse["PUT /api/v1/tenants/red/"] = api.Error{Status: http.StatusServiceUnavailable, Text: "etcd is away"}
	for _, c := range []struct {
		args   string
		exit   int
		stderr string
	}{
		{"net rm web", ExitRefused, "netctl: network web has endpoints\n"},
		{"net rm nope", ExitRefused, "netctl: network default:nope not found; netctl net ls -a shows those that there are\n"},
		{"tenant rm nope", ExitRefused, "netctl: tenant nope not found; netctl tenant ls shows those that there are\n"},
		{"node rm nope", ExitRefused, "netctl: node nope not found; netctl node ls shows those that there are\n"},
		{"net inspect nope", ExitRefused, "netctl: network default:nope not found; netctl net ls -a shows those that there are\n"},
		{"ep inspect nope", ExitRefused, "netctl: endpoint nope not found; netctl endpoint ls -a shows those that there are\n"},
		{"net ls -t nope", ExitRefused, "netctl: tenant nope not found; netctl tenant ls shows those that there are\n"},
		{"ep ls -t nope", ExitRefused, "netctl: tenant nope not found; netctl tenant ls shows those that there are\n"},
		{"tenant create red", ExitUnreachable, "netctl: etcd is away\n"},
		{"ep inspect ..", ExitRefused, "netctl: endpoint \"..\" is not an id or a name\n"},
	} {
		got := netctl(t, url, c.args)
		if got.exit != c.exit || got.stderr != c.stderr || got.stdout != "" {
			t.Errorf("netctl %s: exit %d, stdout %q, stderr %q", c.args, got.exit, got.stdout, got.stderr)
		}
	}
}

// A name with a slash or a colon in it would be a URL of something else.
func TestNamesThatAreNoneAreNotSent(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"tenant rm ..", "tenant create a/b", "tenant inspect a:b", "net create -s 10.0.0.0/8 ../tenants/x", "net rm -t a:b c",
		"net ls -t ..", "node rm ../..", "net create -t= -s 10.0.0.0/8 x",
	} {
		m, url := newMaster(t)
		got := netctl(t, url, args)
		if got.exit != ExitRefused || len(m.seen()) > 0 || !strings.HasPrefix(got.stderr, "netctl: ") {
			t.Errorf("netctl %s: exit %d, stderr %q, requests %v", args, got.exit, got.stderr, m.seen())
		}
	}
}

func TestWrongUsageSendsNothingAndShowsHow(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"tenant create":                           "Tenant name required",
		"tenant rm":                               "Tenant name required",
		"tenant inspect":                          "Tenant name required",
		"tenant create a b":                       "More arguments than required",
		"tenant ls x":                             "More arguments than required",
		"version x":                               "More arguments than required",
		"global info x":                           "More arguments than required",
		"net create -s 10.1.2.0/24":               "Network name required",
		"net rm":                                  "Network name required",
		"net inspect":                             "Network name required",
		"net create x":                            "Subnet is required",
		"net create x -s 10.1.2.0/24 -g 10.1.2":   "Invalid gateway - Enter in A.B.C.D format",
		"net create x -s 10.1.2.0/24 -g 1::2":     "Invalid gateway - Enter in A.B.C.D format",
		"net create x -s6 1::/64 -g6 10.1.2.1":    "Invalid IPv6 gateway - Enter in A:B::C format",
		"net create x -s 10.1.2.0/24 -p many":     `--pkt-tag "many" is not a number`,
		"global set":                              "No setting is named",
		"global set -s 172.19":                    `--private-subnet "172.19" is not a subnet; write it as 172.19.0.0/16`,
		"endpoint inspect":                        "Endpoint name required",
		"node rm":                                 "Node name required",
		"nonsense":                                `unknown command "nonsense" for "netctl"`,
		"net crate":                               `unknown command "crate" for "netctl network"; did you mean create?`,
		"-- nonsense":                             `unknown command "nonsense" for "netctl"`,
		"help nonsense":                           `unknown command "nonsense" for "netctl"`,
		"net ls --nonsense":                       "unknown flag --nonsense",
		"net ls -nonsense=3":                      "unknown flag -nonsense",
		"net ls -aq":                              "unknown flag -aq", // shorts are not bundled
		"net ls -tblue":                           "unknown flag -tblue",
		"-t blue net ls":                          "flag -t belongs to a command of netctl: give it after that command's name, not before",
		"net --tenant blue ls":                    "flag --tenant belongs to a command of netctl network: give it after that command's name, not before",
		"net --nonsense=1 ls":                     "unknown flag --nonsense",
		"net create x -s 10.1.2.0/24 -subnet=a":   "flag --subnet is given twice; give it once",
		"net ls -t blue --tenant blue":            "flag --tenant is given twice; give it once",
		"app-profile update shop":                 "Groups required: name all that the profile is to have with -g, or none with -g \"\"",
		"net ls ---all":                           "unknown flag ---all",
		"net ls -t":                               "flag needs an argument: --tenant",
		"net ls -all=perhaps":                     `--all "perhaps" is not true or false`,
		"net ls --netmaster=ftp://x":              `Error connecting to netmaster: master "ftp://x" is not a URL: it must begin with http:// or https://`,
		"group create web":                        "Network and group name required",
		"group create a b c":                      "More arguments than required",
		"group rm":                                "EndpointGroup name required",
		"group inspect":                           "EndpointGroup name required",
		"netprofile create":                       "Net profile name required",
		"netprofile create x -burst=y":            `--burst "y" is not a number`,
		"policy create":                           "Policy name required",
		"policy audit p":                          "Policy name and on or off required",
		"policy audit p maybe":                    `audit "maybe" is unknown; use on or off`,
		"policy rule-add p":                       "Policy name and Rule ID required",
		"policy rule-rm p":                        "Policy name and Rule ID required",
		"policy rule-ls":                          "Policy name required",
		"policy rule-add p 1 -e g":                "Cant specify to-group for incoming rule",
		"policy rule-add p 1 -o n":                "Cant specify to-network for incoming rule",
		"policy rule-add p 1 -g g -n n":           "Can't specify both from-group argument and -from-network",
		"policy rule-add p 1 -d out -g g":         "Cant specify from-group for outgoing rule",
		"policy rule-add p 1 -d out -n n":         "Cant specify from-network for outgoing rule",
		"policy rule-add p 1 -d out -i 1.1.1.1":   "Cant specify from-ip-address for outgoing rule",
		"policy rule-add p 1 -d out -e g -o n":    "Can't specify both -to-group and -to-network",
		"policy rule-add p 1 -d up":               `Unknown direction "up"; use in or out`,
		"policy rule-add p 1 -P 65536":            `--port "65536" is not in range, 0 to 65535`,
		"policy rule-add p 1 -P http":             `--port "http" is not a number`,
		"external-contracts create":               "Contracts group name required",
		"external-contracts create x":             "Contracts not provided",
		"external-contracts create x -a c":        "Either provided or consumed must be specified",
		"external-contracts create x -a c -c -p":  "Cannot use both provided and consumed",
		"bgp create":                              "Host name required",
		"bgp create h":                            "Missing attributes: give --router-ip and --as",
		"bgp create h --router-ip=1.1.1.1 --as=1": `--router-ip "1.1.1.1" is not an address with its length; write it as 50.1.1.1/24 or 2001:db8::1/64`,
		"bgp create h --router-ip=1.1.1.1/24 --as=1 --neighbor=router": `--neighbor "router" is not an address; write it as 50.1.1.2, 2001:db8::2 or 50.1.1.2@500`,
		"bgp create h --router-ip=1.1.1.1/24 --as=1 --neighbor=@500":   `--neighbor "@500" is not an address; write it as 50.1.1.2, 2001:db8::2 or 50.1.1.2@500`,
		"app-profile create":   "Profile name required",
		"app-profile group-ls": "Profile name required",
		"service create":       "Service name required",
		"service inspect":      "Service name required",
		"aci-gw set x":         "More arguments than required",
		"apply":                "File name required",
		"apply x":              "More arguments than required",
		"export -o table":      "--output table is not possible here; use yaml or json",
		"net ls -o xml":        `--output "xml" is not json, yaml or table`,
		"net ls -j -o yaml":    "Cannot use both --json and --output yaml",
		"completion tcsh":      `shell "tcsh" is unknown; use bash, fish, zsh or powershell`,
	} {
		m, url := newMaster(t)
		got := netctl(t, url, args)
		text, shown, _ := strings.Cut(got.stderr, "\n")
		if got.exit != ExitUsage || text != "netctl: "+want || !strings.Contains(shown, " --help ") || strings.Count(got.stderr, "\n") > 3 || got.stdout != "" || len(m.seen()) > 0 {
			t.Errorf("netctl %s: exit %d, stdout %q, requests %v, stderr %q", args, got.exit, got.stdout, m.seen(), got.stderr)
		}
	}
}

func TestHelpIsEverywhereAndInOrder(t *testing.T) {
	t.Parallel()
	for args, words := range map[string][]string{
		"":                {"netctl [command]", "completion ", "endpoint ", "global ", "help ", "network ", "node ", "tenant ", "version "},
		"-h":              {"netctl [command]"},
		"--help":          {"netctl [command]"},
		"help":            {"netctl [command]"},
		"h":               {"netctl [command]"},
		"net":             {"netctl network [command]", "create ", "inspect ", "ls ", "rm "},
		"net help":        {"netctl network [command]", "create ", "inspect ", "ls ", "rm "},
		"net h":           {"netctl network [command]"},
		"net -help":       {"netctl network [command]"},
		"help net create": {"netctl network create NETWORK", "--encap", "--gateway", "--subnetv6", "-s6"},
		"net help create": {"netctl network create NETWORK"},
		"net create -h":   {"netctl network create NETWORK"},
		"help ep ls":      {"netctl endpoint ls", "--quiet", "--netmaster"},
		"node rm --help":  {"netctl node rm NODE", "rm, delete"},
	} {
		got := netctl(t, "http://127.0.0.1:1", args)
		if got.exit != ExitDone || got.stderr != "" {
			t.Errorf("netctl %s: exit %d, stderr %q", args, got.exit, got.stderr)
		}
		rest := got.stdout
		for _, w := range words {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				t.Errorf("netctl %s: %q is missing, or before its place:\n%s", args, w, got.stdout)
				break
			}
			rest = after
		}
	}
}

func TestVersionShowsBothSides(t *testing.T) {
	t.Parallel()
	_, url := newMaster(t)
	client := "Version: 1.2.3\nGitCommit: abcdef0\nBuildTime: 2026-01-02\n"
	want := "Client Version:\n" + client + "\nServer Version:\nVersion: 1.1.1\nGitCommit: 6657054\nBuildTime: 07-20-2017\n"
	if got := netctl(t, url, "version"); got.exit != ExitDone || got.stdout != want {
		t.Errorf("exit %d, stderr %q, stdout:\n%s", got.exit, got.stderr, got.stdout)
	}
	for _, args := range []string{"--version", "-v", "-version"} {
		if got := netctl(t, url, args); got.exit != ExitDone || got.stdout != "netctl version\n"+client {
			t.Errorf("netctl %s: exit %d, stderr %q, stdout:\n%s", args, got.exit, got.stderr, got.stdout)
		}
	}
}

// nobody is a URL at which nothing listens.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestAnAbsentMasterIsToldFromARefusal(t *testing.T) {
	t.Parallel()
	url := nobody(t)
	got := netctl(t, url, "version")
	if got.exit != ExitUnreachable || !strings.HasPrefix(got.stdout, "Client Version:\n") ||
		!strings.HasPrefix(got.stderr, "netctl: no netmaster answers at "+url) {
		t.Errorf("exit %d, stdout %q, stderr %q", got.exit, got.stdout, got.stderr)
	}
}

func TestAnyOfSeveralMastersDoes(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	dead := nobody(t)
	bare := strings.TrimPrefix(url, "http://")
	for _, c := range []struct{ env, args string }{
		{dead + "," + url, "tenant ls -q"},
		{bare, "tenant ls -q"},
		{dead, "--netmaster " + url + " tenant ls -q"},
		{dead, "tenant ls -q -netmaster=" + dead + "," + bare},
		{dead, "-netmaster=" + dead + " tenant ls --netmaster " + url + " -q -insecure"},
	} {
		got := netctl(t, c.env, c.args)
		if got.exit != ExitDone || got.stdout != "blue\ndefault\nempty\n" {
			t.Errorf("NETMASTER=%s netctl %s: exit %d, stdout %q, stderr %q", c.env, c.args, got.exit, got.stdout, got.stderr)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	for _, args := range []string{"tenant ls", "tenant ls -j", "tenant ls -q", "tenant inspect blue", "version", "help"} {
		var stderr bytes.Buffer
		exit := Run(t.Context(), strings.Fields(args), Env{Stdin: strings.NewReader(""), Stdout: fullDisk{}, Stderr: &stderr,
			Getenv: func(string) string { return url }})
		if exit != ExitOutput || stderr.String() != "netctl: write the output: no space left on device\n" {
			t.Errorf("netctl %s: exit %d, stderr %q", args, exit, &stderr)
		}
	}
}

func TestWordsAreCompletedFromTheServer(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	fill(t, m)
	for _, g := range []api.EndpointGroup{{TenantName: "default", GroupName: "db"}, {TenantName: "default", GroupName: "app"}, {TenantName: "blue", GroupName: "web"}} {
		m.put(t, api.EndpointGroups, g.TenantName+":"+g.GroupName, g)
	}
	for _, name := range []string{"prod", "db-policy"} {
		m.put(t, api.Policies, "default:"+name, api.Policy{TenantName: "default", PolicyName: name})
	}
	for _, r := range []api.Rule{
		{PolicyName: "db-policy", RuleID: "1", Priority: 10}, {PolicyName: "db-policy", RuleID: "10", Priority: 1},
		{PolicyName: "db-policy", RuleID: "2", Priority: 1}, {PolicyName: "prod", RuleID: "3", Priority: 1},
	} {
		r.TenantName = "default"
		m.put(t, api.Rules, model.RuleKey(r.TenantName, r.PolicyName, r.RuleID), r)
	}
	m.put(t, api.Netprofiles, "default:gold", api.Netprofile{TenantName: "default", ProfileName: "gold"})
	m.put(t, api.ExtContractsGroups, "default:fabric", api.ExtContractsGroup{TenantName: "default", ContractsGroupName: "fabric"})
	m.put(t, api.ServiceLBs, "default:dns", api.ServiceLB{TenantName: "default", ServiceName: "dns"})
	m.put(t, api.BGPs, "node1", api.BGP{Hostname: "node1"})
	m.put(t, api.AppProfiles, "default:shop", api.AppProfile{TenantName: "default", AppProfileName: "shop"})
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"tenant", "rm", ""}, []string{"blue", "default", "empty"}},
		{[]string{"net", "inspect", ""}, []string{"contiv-vlan", "web"}},
		{[]string{"net", "rm", "-t", "blue", ""}, []string{"web"}},
		{[]string{"net", "rm", "-tenant=blue", ""}, []string{"web"}},
		{[]string{"net", "ls", "-t", ""}, []string{"blue", "default", "empty"}},
		{[]string{"net", "create", "-encap", ""}, []string{"vxlan", "vlan"}},
		{[]string{"node", "inspect", ""}, []string{"node1", "node2"}},
		{[]string{"ep", "inspect", ""}, []string{"c1", "c10"}},
		{[]string{"node", "rm", "node1", ""}, nil},
		{[]string{"net", "rm", "-tenant=b"}, []string{"blue", "default", "empty"}}, // the shell keeps blue
		{[]string{"group", "create", ""}, []string{"contiv-vlan", "web"}},
		{[]string{"group", "create", "web", ""}, []string{"app", "db"}},
		{[]string{"group", "create", "web", "new", "-p", ""}, []string{"db-policy", "prod"}},
		{[]string{"group", "create", "web", "new", "-n", ""}, []string{"gold"}},
		{[]string{"group", "create", "web", "new", "-e", ""}, []string{"fabric"}},
		{[]string{"group", "rm", "-t", "blue", ""}, []string{"web"}},
		{[]string{"policy", "inspect", ""}, []string{"db-policy", "prod"}},
		{[]string{"policy", "audit", "prod", ""}, []string{"on", "off"}},
		{[]string{"policy", "rule-rm", "db-policy", ""}, []string{"2", "10", "1"}},
		{[]string{"policy", "rule-add", "prod", "1", "-g", ""}, []string{"app", "db"}},
		{[]string{"policy", "rule-add", "prod", "1", "-direction="}, []string{"in", "out"}},
		{[]string{"policy", "rule-add", "prod", "1", "-to-network", ""}, []string{"contiv-vlan", "web"}},
		{[]string{"netprofile", "rm", ""}, []string{"gold"}},
		{[]string{"external-contracts", "rm", ""}, []string{"fabric"}},
		{[]string{"service", "inspect", ""}, []string{"dns"}},
		{[]string{"service", "create", "x", "-s", ""}, []string{"contiv-vlan", "web"}},
		{[]string{"bgp", "create", ""}, []string{"node1", "node2"}},
		{[]string{"bgp", "rm", ""}, []string{"node1"}},
		{[]string{"app-profile", "update", ""}, []string{"shop"}},
		{[]string{"app-profile", "create", "x", "-g", ""}, []string{"app", "db"}},
		{[]string{"app-profile", "create", "x", "-g", "db,"}, []string{"db,app", "db,db"}},
		{[]string{"global", "set", "--established", ""}, []string{"keep", "recheck"}},
		{[]string{"net", "ls", "-o", ""}, []string{"json", "yaml", "table"}},
	} {
		var stdout, stderr bytes.Buffer
		exit := Run(t.Context(), append([]string{"__completeNoDesc"}, c.args...), Env{Stdin: strings.NewReader(""), Stdout: &stdout,
			Stderr: &stderr, Getenv: func(name string) string { return map[string]string{"NETMASTER": url}[name] }})
		lines := strings.Fields(stdout.String())
		if exit != ExitDone || len(lines) == 0 || !slices.Equal(lines[:len(lines)-1], c.want) {
			t.Errorf("netctl %q and tab: exit %d, stdout %q", c.args, exit, &stdout)
		}
	}
	for _, shell := range []string{"bash", "fish", "zsh", "powershell"} {
		if got := netctl(t, url, "completion "+shell); got.exit != ExitDone || !strings.Contains(got.stdout, "netctl") {
			t.Errorf("completion %s: exit %d, stderr %q", shell, got.exit, got.stderr)
		}
	}
}

func TestACellCannotBreakItsColumn(t *testing.T) {
	t.Parallel()
	got := table{head: []string{"A", "B"}, rows: [][]string{{"x\ty\x1b[2J", "1\n2"}}}.String()
	want := "A        B\n-        -\nx?y?[2J  1?2\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
