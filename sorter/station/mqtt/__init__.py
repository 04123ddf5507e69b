"""What a station did, told to an MQTT broker from the journal, behind the station's back."""
