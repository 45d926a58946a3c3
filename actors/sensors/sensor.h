/* sensor.h: the two ways in which vmsig-sensor runs something that is not built on vmsig_actor.h. */
#ifndef VMSIG_SENSOR_H
#define VMSIG_SENSOR_H

/* Loads the shared object argv[0] and runs what its vmsig_plugin_open(argc, argv) makes: the exit code for main. */
int vmsig_sensor_plugin(int argc, char **argv);

/* Runs the command argv (NULL-terminated; found in PATH; no shell) and emits each line of its output as an event of
 * kind 64: in inln where it fits, else as payload. The command ends with the sensor, the sensor with the command: the
 * exit code for main is the command's, or 128 + the signal that killed it. */
int vmsig_sensor_pipe(char **argv);

#endif
