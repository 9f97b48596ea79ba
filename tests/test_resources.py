from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pandas as pd
import pytest

from reconeval.errors import UsageError
from reconeval.resources import (
    load_cell_cycle_genes,
    load_cytokine_dict_from_csv,
    load_cytokine_programmes,
    load_progeny,
    read_gmt,
)

FOLDER = Path(__file__).parents[1] / "reconeval" / "resources"


@pytest.fixture
def dictionary(tmp_path):
    """A table of the Immune Dictionary's form."""
    rows = [
        ("B_cell", "IL4", "Ccr7", 0.01, 1.5),
        ("B_cell", "IL4", "Cd83", 0.05, 0.2),
        ("B_cell", "IL4", "Actb", 0.06, 2.0),
        ("B_cell", "IL4", "Down", 0.001, -1.0),
        ("T_cell", "IL4", "Ccr7", 0.02, 0.7),
        ("T_cell", "IL2", "Il2ra", 0.001, 3.0),
        ("T_cell", "IL9", "None", 0.9, 3.0),
    ]
    columns = ["Celltype_Str", "Cytokine_Str", "Gene", "FDR", "Avg_log2FC"]
    path = tmp_path / "dictionary.csv"
    pd.DataFrame(rows, columns=columns).to_csv(path)
    return path


def one_line(call, *args, **options):
    with pytest.raises(UsageError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cell_cycle_lists():
    s_genes, g2m_genes = load_cell_cycle_genes()
    assert (len(s_genes), len(g2m_genes)) == (43, 54)
    assert s_genes[0] == "MCM5"
    assert g2m_genes[0] == "HMGB2"
    assert not set(s_genes) & set(g2m_genes)


def test_cell_cycle_genes_of_one_file(tmp_path):
    s_genes, g2m_genes = load_cell_cycle_genes()
    path = tmp_path / "regev_lab_cell_cycle_genes.txt"
    path.write_text("\n".join(s_genes + g2m_genes) + "\n")
    assert load_cell_cycle_genes(path) == (s_genes, g2m_genes)
    path.write_text("\n".join(s_genes))
    assert "43 gene names, expected 97" in one_line(load_cell_cycle_genes, path)


def test_hallmark_sets():
    sets = read_gmt()
    assert len(sets) == 50
    assert all(name.startswith("HALLMARK_") for name in sets)
    assert "CXCL9" in sets["HALLMARK_INTERFERON_GAMMA_RESPONSE"]
    assert all(len(genes) == len(set(genes)) > 30 for genes in sets.values())
    assert not any(gene.startswith("http") for genes in sets.values() for gene in genes)


def test_gmt_keeps_order_and_drops_repeats(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("one\tabout\tB\tA\tB\t\n\ntwo\t\tC\n")
    assert read_gmt(path) == {"one": ["B", "A"], "two": ["C"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no gene sets"),
        ("one\tabout\n", "line 1: 'one' has no genes"),
        ("a\t\tX\na\t\tY\n", "line 2: set 'a' occurs twice"),
    ],
)
def test_a_bad_gmt_file(tmp_path, text, expected):
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    assert expected in one_line(read_gmt, path)


def test_progeny_has_14_pathways_of_500_genes():
    table = load_progeny()
    assert list(table.columns) == ["source", "target", "weight", "p_value"]
    sizes = table.groupby("source").size()
    assert len(sizes) == 14
    assert (sizes == 500).all()
    assert not table.duplicated(["source", "target"]).any()


def test_progeny_top_keeps_the_most_significant():
    table, best = load_progeny(), load_progeny(top=10)
    assert (best.groupby("source").size() == 10).all()
    for pathway, kept in best.groupby("source"):
        p_values = table.loc[table["source"] == pathway, "p_value"].sort_values()
        assert kept["p_value"].max() == p_values.iloc[9]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".tsv.gz"])
def test_progeny_of_a_file_with_decouplers_names(tmp_path, suffix):
    table = load_progeny(top=3)
    path = tmp_path / f"mine{suffix}"
    table.to_csv(path, sep="," if suffix == ".csv" else "\t", index=False)
    pd.testing.assert_frame_equal(load_progeny(path), table)


def test_progeny_refuses(tmp_path):
    assert "top=0" in one_line(load_progeny, top=0)
    path = tmp_path / "mine.csv"
    path.write_text("source,target,weight\nA,B,1\n")
    message = one_line(load_progeny, path)
    assert "no column p_value" in message
    assert "the file has source, target, weight" in message


def test_cytokine_programmes():
    programmes = load_cytokine_programmes()
    raw = pd.read_csv(FOLDER / "cytokine_programmes.csv.gz")
    assert len(programmes) == 82
    for name, genes in programmes.items():
        assert sorted(genes) == sorted(raw.loc[raw["CIP"] == name, "gene"].unique())
    of_b_cells = load_cytokine_programmes(celltype="B_cell")
    assert 0 < len(of_b_cells) <= 82
    assert all(set(genes) <= set(programmes[name]) for name, genes in of_b_cells.items())
    assert "did you mean B_cell?" in one_line(load_cytokine_programmes, celltype="Bcell")


def test_the_immune_dictionary(dictionary):
    assert load_cytokine_dict_from_csv(dictionary) == {"IL4": ["Ccr7", "Cd83"], "IL2": ["Il2ra"]}


def test_the_immune_dictionary_filtered(dictionary):
    load = load_cytokine_dict_from_csv
    assert load(dictionary, celltype="T_cell") == {"IL4": ["Ccr7"], "IL2": ["Il2ra"]}
    assert load(dictionary, fdr=0.01) == {"IL4": ["Ccr7"], "IL2": ["Il2ra"]}
    assert load(dictionary, min_log2fc=1) == {"IL4": ["Ccr7"], "IL2": ["Il2ra"]}
    assert load(dictionary, min_log2fc=-5)["IL4"] == ["Ccr7", "Cd83", "Down"]


def test_the_immune_dictionary_refuses(dictionary, tmp_path):
    load = load_cytokine_dict_from_csv
    assert "none of 7 rows" in one_line(load, dictionary, min_log2fc=9)
    assert "did you mean T_cell?" in one_line(load, dictionary, celltype="T cell")
    other = tmp_path / "other.csv"
    pd.read_csv(dictionary).drop(columns=["FDR", "Gene"]).to_csv(other)
    assert "no column Gene, FDR" in one_line(load, other)
    pd.read_csv(dictionary).assign(FDR="low").to_csv(other)
    assert "column FDR holds text" in one_line(load, other)


def test_missing_values_are_left_out_and_a_gene_called_None_is_kept(dictionary):
    with dictionary.open("a") as file:
        file.write("7,T_cell,IL9,None,0.01,3.0\n8,T_cell,IL9,Gzmb,NA,3.0\n")
    assert load_cytokine_dict_from_csv(dictionary)["IL9"] == ["None"]


@pytest.mark.parametrize(
    "load", [load_cell_cycle_genes, read_gmt, load_progeny, load_cytokine_dict_from_csv]
)
def test_unreadable_files(load, tmp_path):
    assert "no such file" in one_line(load, tmp_path / "absent.csv")
    packed = tmp_path / "packed.txt"
    packed.write_bytes(gzip.compress(b"abc" * 100))
    assert "cannot be read" in one_line(load, packed)


def test_a_mark_of_the_encoding_is_no_part_of_the_first_name(dictionary, tmp_path):
    """As Excel writes it."""
    marked = tmp_path / "marked.csv"
    table = pd.read_csv(dictionary)[["Gene", "Celltype_Str", "Cytokine_Str", "FDR", "Avg_log2FC"]]
    table.to_csv(marked, index=False, encoding="utf-8-sig")
    assert load_cytokine_dict_from_csv(marked) == load_cytokine_dict_from_csv(dictionary)
    s_genes, g2m_genes = load_cell_cycle_genes()
    marked.write_text("\n".join(s_genes + g2m_genes), encoding="utf-8-sig")
    assert load_cell_cycle_genes(marked)[0][0] == "MCM5"
    marked.write_text("one\tabout\tA\n", encoding="utf-8-sig")
    assert read_gmt(marked) == {"one": ["A"]}


@pytest.mark.parametrize(("at", "of"), [(1, 0), (50, 3)])
def test_a_cell_cycle_gene_twice_is_refused(tmp_path, at, of):
    """In one list it stands for a gene that is lost, in both for either phase."""
    s_genes, g2m_genes = load_cell_cycle_genes()
    genes = s_genes + g2m_genes
    genes[at] = genes[of]
    path = tmp_path / "genes.txt"
    path.write_text("\n".join(genes))
    message = one_line(load_cell_cycle_genes, path)
    assert f"{genes[of]} more than once, expected 97 different gene names" in message


def test_rows_with_more_fields_than_the_header_are_refused(tmp_path):
    """pandas would take the first column for names of rows, and every name for another column."""
    path = tmp_path / "mine.csv"
    path.write_text("source,target,weight,p_value\nA,B,1,0.1,x\nA,C,1,0.2,y\n")
    message = one_line(load_progeny, path)
    assert "2 of 2 rows have other than the 4 fields of the header" in message
    assert "line 2, has 5" in message
    path.write_text("source,target,weight,p_value\nA,B,1,0.1\n\nA,C,1,0.2,y\n")
    assert "1 of 2 rows" in one_line(load_progeny, path)
    assert "line 4, has 5" in one_line(load_progeny, path)


def test_a_file_that_was_cut_off_is_refused(dictionary):
    text = dictionary.read_text()
    whole = load_cytokine_dict_from_csv(dictionary)
    dictionary.write_text(text[: text.rindex(",T_cell")])
    assert "1 of 7 rows" in one_line(load_cytokine_dict_from_csv, dictionary)
    dictionary.write_text(text.replace("IL9", '"IL, 9"'))
    assert load_cytokine_dict_from_csv(dictionary) == whole, "a comma in quotes is none"


@pytest.mark.parametrize("weight", ["inf", "-inf", "nan", "NA", ""])
def test_a_weight_that_is_none_is_refused(tmp_path, weight):
    path = tmp_path / "mine.csv"
    path.write_text(f"source,target,weight,p_value\nA,B,{weight},0.1\nA,C,1,0.2\n")
    message = one_line(load_progeny, path)
    assert "column weight is missing or infinite in 1 of 2 rows" in message


@pytest.mark.parametrize("pack", [gzip, bz2, lzma], ids=["gz", "bz2", "xz"])
def test_packed_tables_are_read(dictionary, pack):
    suffix = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[pack]
    packed = dictionary.with_name(f"packed.csv{suffix}")
    with pack.open(packed, "wb") as file:
        file.write(dictionary.read_bytes())
    assert load_cytokine_dict_from_csv(packed) == load_cytokine_dict_from_csv(dictionary)
