"""A diverter that is not there: the device's half of WS1 behind a pty or a TCP port."""
