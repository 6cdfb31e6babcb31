"""The way in for people: the command line (`sensorium.app.cli`) and the web page (`sensorium.app.web`)."""
