"""The index: embed a collection once, then find anything in it with anything. The way in is `sensorium.search.index`."""
