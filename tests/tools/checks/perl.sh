#!/bin/sh
set -eu
cd "$(mktemp -d)"
mkdir t
cat >t/a.t <<'T'
use strict; use warnings; use Test::More; use IPC::Open3; use Socket; use POSIX ':sys_wait_h';
pipe(my $r, my $w) or die; my $pid = fork // die;
if (!$pid) { close $r; print $w "from child"; close $w; exit 7 }
close $w; is(<$r>, 'from child'); waitpid($pid, 0); is($? >> 8, 7);
my $p = open3(my $in, my $out, undef, 'tr', 'a-z', 'A-Z'); print $in "abc\n"; close $in; is(<$out>, "ABC\n"); waitpid($p, 0);
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; syswrite $a, 'x'; sysread $b, my $x, 1; is($x, 'x');
local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; eval { select undef, undef, undef, 10 }; is($@, "alarm\n");
done_testing;
T
prove -v t | tail -n 1 | grep PASS
