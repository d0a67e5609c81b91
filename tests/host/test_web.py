"""What the frontend asks for: help pages and translations."""

from __future__ import annotations

MODULE = "musetalk-under-test"


def test_help_page_of_every_node_is_served(comfy):
    for name in comfy.object_info():
        if "MuseTalk" in name:
            page = comfy.get_bytes(f"/extensions/{MODULE}/docs/{name}.md").decode()
            assert page.startswith("#"), name


def test_translations_are_served(comfy):
    languages = comfy.get("/i18n")
    for language in ("en", "zh"):
        assert "MuseTalkLoadModels" in languages[language]["nodeDefs"]
