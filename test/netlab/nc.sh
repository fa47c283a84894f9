#!/bin/sh
# nc of the test image: the machine's busybox may know fewer flags than the one that the image stands for. What it does not
# know is made of what it does: -z -v -n, and a port after -l. In the image that one is called nd.
verbose= wait=5 port=
case "$1" in
-l)
	[ $# -eq 2 ] && [ -z "${2##[0-9]*}" ] && exec busybox nd -l -p "$2"
	exec busybox nd "$@"
	;;
-*z*) ;;
*) exec busybox nd "$@" ;;
esac
while getopts nzvw: flag; do
	case $flag in
	v) verbose=1 ;;
	w) wait=$OPTARG ;;
	'?') exit 1 ;;
	esac
done
shift $((OPTIND - 1))
if said=$(busybox nd -w "$wait" "$1" "$2" -e true 2>&1 </dev/null); then
	[ -z "$verbose" ] || echo "$1 ($1:$2) open" >&2
	exit 0
fi
case "$said" in
*refused*) why='Connection refused' ;;
*timed*out*) why='Operation timed out' ;;
*) why=$said ;;
esac
[ -z "$verbose" ] || echo "nc: $1 ($1:$2): $why" >&2
exit 1
