"""The pages tell the truth: their examples run, their tables are the code's, their links and paths lead somewhere."""

import ast
import doctest
import importlib.util
import itertools
import re
import shlex
from unittest import mock

import click
import pytest

import featurizers
from learner.commands import main
from tests.pages import FLAGS, PAGES, ROOT, blocks, pattern

pytestmark = pytest.mark.skipif("README.md" not in PAGES, reason="the pages are not installed with the package")
every_page = pytest.mark.parametrize("page", PAGES)

TEXTS = {page: path.read_text(encoding="utf-8") for page, path in PAGES.items()}
LINK = re.compile(r"\]\(([^)\s]+)\)")
TOP = ("learner/", "featurizers/", "tests/", "deploy/")  # folders that a path in a page begins with
PATH = re.compile(r"`((?:[\w@.-]+/)+[\w@.-]*)`")
TREE_LINE = re.compile(r"( *)([\w@./-]+)(?:  +\S.*)?")


def prose(page):
    """Return a page's text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """Return what a link to a part of the page may end in, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_python_examples_print_what_the_page_shows(page):
    """One after another, with what the examples before have defined."""
    names = {}
    for number, example in enumerate(block for block in blocks(page, "python") if block.startswith(">>>")):
        adapted = re.search(r"from learner\.adapters\.(\w+)", example)
        if adapted and importlib.util.find_spec(adapted[1]) is None:
            continue  # the library of an extra
        test = doctest.DocTestParser().get_doctest(example, names, f"{page}, example {number + 1}", page, 0)
        runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
        report = []
        with mock.patch.dict(featurizers.REGISTRY):  # an example's own template is gone afterwards
            failures, tried = runner.run(test, out=report.append, clear_globs=False)
        names = test.globs
        assert tried > 0
        assert failures == 0, "".join(report)


@every_page
def test_toml_examples_are_featurizers(page):
    for block in blocks(page, "toml"):
        assert featurizers.loads(block, format="toml").templates


@every_page
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (PAGES[page].parent / target).resolve()
        path = path / "README.md" if path.is_dir() else path
        assert path.is_file(), link
        if anchor:
            assert anchor in anchors(path.relative_to(ROOT).as_posix()), link


@every_page
def test_paths_are_there(page):
    """Those in backquotes, from the project's folder or from the page's own."""
    home = PAGES[page].parent
    paths = {
        name for name in PATH.findall(prose(page)) if name.startswith(TOP) or (home / name.partition("/")[0]).is_dir()
    }
    assert not {name for name in paths if not (ROOT / name).exists() and not (home / name).exists()}


@every_page
def test_maps_of_the_code_are_right(page):
    """A block without a language whose first word is a file or a folder is a tree: a line each, indented by folder."""
    missing = []
    for block in blocks(page, ""):
        if not (ROOT / block.split()[0]).exists():
            continue
        folders = {0: ROOT}
        for line in block.splitlines():
            indented, name = TREE_LINE.fullmatch(line).groups()
            path = folders[len(indented)] / name
            folders[len(indented) + 2] = path
            if not (path.is_dir() if name.endswith("/") else path.is_file()):
                missing.append(path.relative_to(ROOT).as_posix())
    assert not missing


def commands(group, words):
    """Yield the words of every command, subcommands too."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}"


def quoted(page):
    """Yield the words of each `learner` command that a page quotes, in prose, in the shell or in a script."""
    lines = re.findall(r"`([^`]+)`", prose(page))
    lines += [
        line.removeprefix("$ ") for kind in ("console", "sh") for line in "".join(blocks(page, kind)).splitlines()
    ]
    for line in lines:
        if "learner " not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError:  # an output, with an apostrophe
            continue
        for is_punctuation, group in itertools.groupby(tokens, lambda token: set(token) <= set("();<>|&")):
            words = list(group)
            words = words[2:] if words[:2] == ["python", "-m"] else words
            if not is_punctuation and words[0] == "learner" and len(words) > 1:
                yield words[1:]


def parse(command, words):
    """Parse a command line with its command, without running it; arguments may be missing, as in prose."""
    context = click.Context(command, **main.context_settings)
    if isinstance(command, click.Group):
        if words[0].startswith("-") or words[0].isupper():  # --help, COMMAND
            return
        assert words[0] in command.list_commands(context), words
        parse(command.get_command(context, words[0]), words[1:])
        return
    options, arguments, _ = command.make_parser(context).parse_args(args=list(words))
    assert not arguments, words
    for parameter in command.params:
        value = options.get(parameter.name)
        is_narrow = isinstance(parameter.type, click.Choice | click.types.IntParamType)
        if is_narrow and isinstance(value, str) and not value.isupper():
            parameter.type.convert(value, parameter, context)


@every_page
def test_every_command_that_a_page_quotes_can_be_parsed(page):
    for words in quoted(page):
        try:
            parse(main, words)
        except click.UsageError as error:
            pytest.fail(f"learner {' '.join(words)}: {error.message}")


def test_an_option_that_is_not_there_is_found():
    for words in ("replay FILE --nosuch", "replay FILE --task nosuch", "nosuch FILE", "init FILE OTHER"):
        with pytest.raises((click.UsageError, AssertionError)):
            parse(main, words.split())
    assert sum(len(list(quoted(page))) for page in PAGES) > 80


def test_every_command_is_in_a_page():
    everything = " ".join("\n".join(TEXTS.values()).split())
    for words in commands(main, "learner"):
        assert words in everything, words


def test_the_table_for_users_of_vowpal_wabbit_names_options_that_are_there():
    table = TEXTS["learner/README.md"].partition("| `vw` | here | difference |\n")[2].partition("\n\n")[0]
    named = {word for row in table.splitlines()[1:] for word in re.findall(r"--[a-z0-9-]+", row.split(" | ")[1])}
    known = {
        word for name in ("create", "replay") for option in main.get_command(None, name).params for word in option.opts
    }
    assert len(named) > 8
    assert named <= known


def test_every_template_has_a_line_and_an_example():
    page = TEXTS["featurizers/README.md"]
    public = [getattr(featurizers, name) for name in featurizers.__all__]
    templates = [value for value in public if isinstance(value, type) and "template" in vars(value)]
    assert len(templates) > 20
    for template in templates:
        assert f"| `{template.template}` | `{template.__name__}` |" in page, template
        assert f'template="{template.template}"' in page, template
    for name in featurizers.READY:
        assert f"| `{name}`" in page, name


# ---- the reliability table -------------------------------------------------------------------------------------------------
def test_the_reliability_table_has_rows_that_the_program_prints():
    lines = TEXTS["tests/README.md"].partition("| test | wanted | got |\n| --- | --- | --- |\n")[2].partition("\n\n")[0]
    shown = {line.split(" | ")[0].removeprefix("| ") for line in lines.splitlines()}
    printed = set()
    for path in (ROOT / "tests" / "reliability").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):  # a row is made, or a function that makes one is called
                printed |= {pattern(argument) for argument in node.args}
            elif isinstance(node, ast.Assign):
                printed.add(pattern(node.value))
    printed -= {None, ".+"}
    assert len(shown) > 20
    assert not {name for name in shown if not any(re.fullmatch(text, name) for text in printed)}
