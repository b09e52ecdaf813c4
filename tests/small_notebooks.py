"""Notebooks of a few cells, written for a test."""

import nbformat


def write_notebook(path, parameters: str, *cells: str):
    """A notebook with a parameters cell and further code cells."""
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[first, *map(nbformat.v4.new_code_cell, cells)], metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path
