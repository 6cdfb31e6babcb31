"""The index: embed a collection once, then find anything in it with anything (`sensorium.search.index` is the door)."""
