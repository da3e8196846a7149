"""What becomes of a text on each of its ways: it is harmless, and where it must be, it comes back."""

import ast
import subprocess
import sys
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pandas as pd
import pytest
from hostile import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from tensorview_insitu.paraview_states.written import as_drawn, in_braces

from tensorview_insitu.export.files import Target
from tensorview_insitu.export.table import read_table, write_table
from tensorview_insitu.run.layout import escaped, unescaped
from tensorview_insitu.text.array_names import array_name, checked
from tensorview_insitu.text.file_names import checked as checked_file
from tensorview_insitu.text.file_names import safe_names
from tensorview_insitu.text.percent import as_cell, as_column, from_column
from tensorview_insitu.text.printable import distinct, printable, shortened
from tensorview_insitu.text.python import Source, call, literal, name
from tensorview_insitu.text.xml import NotXmlError, document

# Any text, and those that are made of signs that mean something somewhere.
ANY = st.one_of(
    st.text(st.one_of(st.characters(), st.sampled_from("%=+-@\";\n\r\t\0 09AFaf$|{}[]<&'\\#")), max_size=30),
    st.sampled_from(TEXTS),
)


@given(text=ANY)
def test_a_printable_text_moves_no_cursor_and_says_what_was_there(text):
    shown = printable(text)
    assert shown.isprintable() and printable(shown) == shown
    assert (shown == text) == text.isprintable()
    assert printable(text, ascii_only=True).isascii()


@given(texts=st.lists(ANY, unique=True, max_size=8))
def test_texts_that_differ_are_shown_differently(texts):
    forms = distinct(texts)
    assert len(set(forms.values())) == len(texts) and all(form.isprintable() for form in forms.values())


def test_a_name_that_hides_as_another_is_told_apart():
    assert distinct(["a\n", "a\\n"]) == {"a\\n": "a\\n", "a\n": "a\\n~"}
    assert shortened("n" * 300, 20) == "nnnnnnnnn...nnnnnnnn"


@given(text=ANY)
def test_a_name_in_a_table_is_no_formula_and_is_given_back(text):
    for written in (as_column(text), as_cell(text)):
        assert from_column(written) == text
        assert written.isprintable() and written[0] not in "=+-@＝＋－＠ " and written[-1] != " "
        assert not set(written) & set('";\\')
    if text.isascii() and text:
        assert unquote(as_column(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_pandas_reads_back_the_names_that_were_written(text, tmp_path):
    texts = [text, "plain", "b"]
    table = pd.DataFrame({"number": [1, 2, 3], text: [0.1 + 0.2, float("nan"), -1.0], "layer": texts})
    index = write_table(Target(tmp_path), "t.csv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table)
    raw = pd.read_csv(tmp_path / "t.csv")
    assert list(raw.columns) == index["columns"] and raw.shape == (3, 3)
    if text.isascii():
        assert [unquote(column) for column in raw.columns] == list(table.columns)
        assert [unquote(cell) for cell in raw["layer"]] == texts


@given(text=ANY)
def test_a_name_in_hdf5_is_printable_and_is_given_back(text):
    path = escaped(text)
    assert path.isprintable() and unescaped(path) == text
    assert all(part == part.strip() for part in path.split("/"))


@given(text=ANY, other=ANY)
def test_a_text_in_a_script_is_a_literal_or_a_comment(text, other):
    source = Source()
    source.section(text)
    source.comment(other)
    variable = source.variable(text)
    source.assign(name(variable), literal([text, other, 1.5]))
    source.do(call(name("print"), literal(text), key=literal(other)))
    assign, do = ast.parse(source.text()).body
    assert ast.literal_eval(assign.value) == [text, other, 1.5]
    assert ast.unparse(assign.targets[0]) == variable != source.variable(text)
    assert [do.value.args[0].value, do.value.keywords[0].value.value] == [text, other]
    assert all(line.startswith("# ") for line in source.text().split("\n")[:2])


@pytest.mark.parametrize("identifier", ["a b", "a;b", "import", "1", "", "a\n"])
def test_no_identifier_is_made_of_anything_else(identifier):
    with pytest.raises(ValueError, match="Expected an identifier"):
        name(identifier)


def test_variables_are_no_keywords_and_no_builtins():
    source = Source(["layout"])
    names = [source.variable(text) for text in ("lambda", "print", "layout", "match", "9", "", "é", "Conv 1")]
    assert names == ["lambda_2", "print_2", "layout_2", "match_2", "_9", "it", "it_2", "conv_1"]


@given(text=ANY)
def test_a_text_in_xml_comes_back_or_is_refused(text):
    root = Element("a", value=text)
    root.text = text
    try:
        data = document(root)
    except NotXmlError:
        assert any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF or ord(c) in (0xFFFE, 0xFFFF) for c in text)
        return
    back = ElementTree.fromstring(data)
    assert back.get("value") == text and len(back) == 0
    # What is printable can always be written.
    document(Element("a", value=printable(text)))


@given(texts=st.lists(ANY, unique=True, max_size=6))
def test_names_of_files_and_arrays_are_plain_and_differ(texts):
    files = safe_names(texts)
    assert len({file.lower() for file in files.values()}) == len(texts)
    for file in files.values():
        assert checked_file(f"layers/{file}/{file}_0000001.vti") and len(file) <= 80
    arrays: list[str] = []
    for text in texts:
        arrays.append(array_name(text, arrays))
        assert checked(arrays[-1])
    assert len(set(arrays)) == len(texts)


@pytest.mark.parametrize("file", ["../x", "/x", "a//b", "a/.x", "-rf", "a\\b", "a/..", "", "a b", "a\n"])
def test_no_file_lies_outside_the_export(file):
    with pytest.raises(ValueError, match="Expected a plain path within the export"):
        checked_file(file)


def test_the_files_of_a_variable_are_not_those_of_another():
    files = safe_names(["kernel", "grids", "kernel_by_step", "Path"], r"(grids|path).*|.*_by_step")
    assert files["kernel"] == "kernel" and all("-" in files[n] for n in ("grids", "kernel_by_step", "Path"))


def test_text_is_drawn_as_it_is():
    assert as_drawn("Text", "$\\sqrt$ a|b {x}\nnext") == "\\$\\sqrt\\$ a¦b {x}\nnext"
    assert as_drawn("ChartTitle", "{ENV_username}") == "{{ENV_username}}"
    assert as_drawn("Representation", "Surface") == "Surface"
    letters = "\u03b2 \u4e2d \u00e9 e\u0301 \u2013 \u0161"
    assert as_drawn("Text", letters) == "\\u03b2 \\u4e2d \u00e9 \u00e9 \u2013 \u0161"
    assert in_braces("a{b}") == "a{{b}}"
    with pytest.raises(ValueError, match="Expected printable text"):
        as_drawn("Text", "\x1b")


INK = """
import sys
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkRenderingCore import vtkTextProperty, vtkTextRenderer
import vtkmodules.vtkRenderingFreeType

def ink(text):
    image, how = vtkImageData(), vtkTextProperty()
    how.SetFontSize(24)
    assert vtkTextRenderer.GetInstance().RenderString(how, text, image, [0, 0], 72)
    return (vtk_to_numpy(image.GetPointData().GetScalars())[:, 3] > 0).sum()

print(*[hex(ord(c)) for c in sys.argv[1] if ink(f"a{c}b") <= ink("ab")])
"""


def test_vtk_has_every_letter_that_is_drawn_as_it_is():
    letters = "".join(c for c in map(chr, range(0x21, 0x3000)) if c.isprintable() and c not in "$|")
    drawn = "".join(c for c in letters if as_drawn("Text", c) == c)
    assert "\u00e9" in drawn and "\u0161" in drawn and "\u03b2" not in drawn
    program = [sys.executable, "-c", INK, drawn + "\u03b2"]
    answer = subprocess.run(program, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["0x3b2"]  # which it has not: the check can fail
