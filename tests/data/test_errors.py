import pickle

from sensorium.data.errors import SensoriumError, Unreadable, printable


def test_any_file_name_can_be_printed():
    error = Unreadable("caf\udce9\n\x1b[31m.jpg", "truncated")
    assert str(error) == "caf\\xe9\\n\\x1b[31m.jpg: truncated"
    assert str(error).encode("utf-8")
    assert error.path == "caf\udce9\n\x1b[31m.jpg", "the name itself stays usable"
    assert printable("smörgås 😀.jpg") == "smörgås 😀.jpg"


def test_an_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(Unreadable("a.jpg", "truncated")))
    assert isinstance(error, SensoriumError)
    assert (error.path, error.reason) == ("a.jpg", "truncated")
