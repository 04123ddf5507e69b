"""How the station is, told to whoever asks: systemd, metrics, `sorter status`."""
