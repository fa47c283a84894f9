// SPDX-License-Identifier: Apache-2.0

package datapath

// The object is committed, so that building needs no clang. Generation is reproducible: the same clang gives the
// same bytes wherever the tree lies.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -type port -type port_drop -type endpoint_key -type endpoint -type network -type exit -type private_key -type subnet_key -type prefix_key -type station_key -type member_key -type route_key -type route -type vtep -type peer -type verdict_key -type range_key -type verdict -type rule_count -type connection_key -type connection4_key -type connection -type event -type event_kind -type listener -type service_key -type service -type slot_list -type provider_key -type provider -type translation_key -type translation -type provider_count contiv bpf/contiv.c -- -O2 -g -Wall -Werror -Wno-address-of-packed-member -fno-strict-aliasing -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel question bpf/question.c -- -O2 -g -Wall -Werror -fno-strict-aliasing -mcpu=v3 -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
