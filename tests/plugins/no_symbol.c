/* A shared object that is no plug-in. */
int vmsig_test_not_a_plugin(void);

int vmsig_test_not_a_plugin(void) {
    return 0;
}
