// SPDX-License-Identifier: Apache-2.0

// Prints the addresses of a name, each on a line, as the C library that it is linked with finds them: addresses 4 NAME asks for IPv4
// alone, addresses 0 NAME for both families at once. "late" is an answer that did not come in time.
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	char text[64];
	int error;

	if (argc != 3)
		return 2;
	hints.ai_family = atoi(argv[1]) == 4 ? AF_INET : AF_UNSPEC;
	error = getaddrinfo(argv[2], NULL, &hints, &list);
	if (error == EAI_AGAIN)
		puts("late");
	if (error)
		return 1;
	for (a = list; a; a = a->ai_next)
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
			puts(text);
	return 0;
}
