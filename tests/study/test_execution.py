"""A notebook's parameters are checked before it runs, and its copy appears when it is complete."""

import pytest
from small_notebooks import write_notebook

from polarity_lib.config import ConfigError
from polarity_lib.study import execution


def test_values_take_the_type_the_notebook_declares(tmp_path):
    path = write_notebook(tmp_path / "a.ipynb", 'name = "x"  # a word\nseeds = 1\nrate = 1e-4\nfresh = False')
    assert execution.declared_parameters(path) == {"name": "x", "seeds": 1, "rate": 1e-4, "fresh": False}
    given = {"name": "12", "seeds": "3", "rate": "1", "fresh": "True"}
    assert execution.check_parameters(path, given) == {"name": "12", "seeds": 3, "rate": 1.0, "fresh": True}
    for wrong in ({"seeds": "1.5"}, {"fresh": "1"}, {"rate": "fast"}):
        with pytest.raises(ConfigError, match="does not fit"):
            execution.check_parameters(path, wrong)


@pytest.mark.notebook
def test_a_notebook_appears_only_when_it_is_complete(tmp_path):
    papermill = pytest.importorskip("papermill")
    path = write_notebook(tmp_path / "a.ipynb", "bottom = 1", "print(1 / bottom)")
    with pytest.raises(papermill.PapermillExecutionError):
        execution.execute(path, tmp_path / "out" / "a.ipynb", {"bottom": 0})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.failed.ipynb"]
    execution.execute(path, tmp_path / "out" / "a.ipynb", {"bottom": 2})
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.ipynb"]
    assert "0.5" in (tmp_path / "out" / "a.ipynb").read_text()
