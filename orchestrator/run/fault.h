/*
 * Places in the work of retention where a test may end the process, or hold a thread up, to see what a crash or another request at that
 * very moment comes to. In the program this does nothing and can't be made to: the suites run a copy of it that is linked with
 * tests/fault/points.c in fault.c's place.
 */
#ifndef ARP_ORCHESTRATOR_RUN_FAULT_H
#define ARP_ORCHESTRATOR_RUN_FAULT_H

void fault_reach(const char *point);

#endif
