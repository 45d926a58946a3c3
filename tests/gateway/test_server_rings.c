/* All that holds over the socket holds over rings. */
#define HOUSE_RINGS VMSIG_CLIENT_ADAPTIVE
#include "tests/gateway/test_server.c"
