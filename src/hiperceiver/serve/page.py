"""The page: inputs on the left, what the model makes of them on the right, its inside below."""

import html
import sys
import traceback
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
from gradio.themes import Base

from hiperceiver.serve.answers import Answerer, Input, Question, Refused, Reply
from hiperceiver.settings.base import printable

THEME = Base(
    primary_hue="sky", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)  # fonts of the reader's system: none are fetched
CSS = """
.line {font-size: 1.05rem; overflow-wrap: anywhere} .wrong {color: #b42318} .seen img {image-rendering: pixelated}
.drawn img, .attention img {max-height: 640px; object-fit: contain; padding-top: 28px}
"""
_SHOWN_SIDE = 400  # pixels, about, of what the model sees
_NOTHING = "Drop a file, or choose an example."
_MOST_ATTENTION = 2  # pictures of attention of a modality
_FAULT = "something went wrong here; the terminal of hip serve says what"


class _Page:
    """The components, and what happens between them."""

    def __init__(self, answerer: Answerer):
        self.answerer, self.about = answerer, answerer.about
        with gr.Row():
            with gr.Column(scale=1):
                self._make_inputs()
            with gr.Column(scale=2):
                self._make_outputs()
        if self.about.place:
            with gr.Accordion("Where it looks", open=False):
                self._make_attention()
        if pictures := answerer.positions():
            with gr.Accordion("Its positions", open=False):
                for picture in pictures:
                    _image(value=picture)
        self._connect()

    def _make_inputs(self) -> None:
        about = self.about
        self.files = {each.name: gr.File(label=_file_label(each), height=150) for each in about.inputs}
        self.texts = {
            each.name: gr.Textbox(label=f"or type {each.name}", lines=3) for each in about.inputs if each.is_text
        }
        choices = [(name, number) for number, name in enumerate(about.examples)]
        self.example = gr.Dropdown(
            choices, value=None, label="or take an example of its data", visible=bool(choices), type="value"
        )
        is_masked = about.mask_ratio is not None
        self.ratio = gr.Slider(0.01, 0.99, about.mask_ratio, step=0.01, label="hidden share", visible=is_masked)
        self.seed = gr.State(0)
        self.again = gr.Button("Hide other places", visible=is_masked)
        self.seen = _image(show_label=False, visible=False, elem_classes="seen")  # a label would cover places to click
        self.scale = gr.State(1)  # pixels along a side of one of what it sees

    def _make_outputs(self) -> None:
        about = self.about
        self.line = gr.HTML(_line(_NOTHING))
        self.labels = {name: gr.Label(label=name, visible=False) for name in about.labels}
        self.numbers = gr.Dataframe(headers=["name", "value"], interactive=False, visible=False)
        self.overlay = gr.AnnotatedImage(show_label=False, format="png", visible=False, elem_classes="seen")
        self.read = {each.name: _reading(each) for each in about.inputs if each.name != about.clicked}
        self.drawn = {
            name: _image(label=name, show_label=len(about.drawn) > 1, visible=False, elem_classes="drawn")
            for name in about.drawn
        }
        self.sound = gr.Audio(label="reconstruction", interactive=False, visible=False)
        self.written = gr.File(label="files", interactive=False, visible=False)

    def _make_attention(self) -> None:
        where = f"Place ({self.about.place})"
        hint = "Click on the picture that it sees, or name a place." if self.about.clicked else "Name a place."
        gr.Markdown(f"{hint} Without one, it is the middle.")
        with gr.Row():
            self.place = gr.Textbox(label=where, max_lines=1, max_length=60)
            self.look = gr.Button("Show")
        self.attention_line = gr.HTML("")
        self.attention = [
            _image(show_label=False, visible=False, elem_classes="attention")
            for _ in range(_MOST_ATTENTION * len(self.about.inputs))
        ]

    @property
    def _asked(self) -> list[Any]:
        return [*self.files.values(), *self.texts.values(), self.example, self.ratio, self.seed]

    @property
    def _shown(self) -> list[Any]:
        own = [self.line, self.seen, *self.labels.values(), self.numbers, self.overlay, *self.read.values()]
        return [*own, *self.drawn.values(), self.sound, self.written, self.scale]

    def _connect(self) -> None:
        show: dict[str, Any] = {"fn": self._answer, "inputs": self._asked, "outputs": self._shown}
        for each in self.files.values():
            each.upload(lambda: None, outputs=self.example).then(**show)
            each.clear(**show)
        for each in self.texts.values():
            each.submit(lambda: None, outputs=self.example).then(**show)
        given = [*self.files.values(), *self.texts.values()]
        self.example.input(lambda: None if len(given) == 1 else [None] * len(given), outputs=given).then(**show)
        self.ratio.release(**show)
        self.again.click(lambda seed: seed + 1, self.seed, self.seed).then(**show)
        if self.about.place:
            look: dict[str, Any] = {"fn": self._attention, "inputs": [*self._asked, self.place]}
            look["outputs"] = [self.attention_line, *self.attention]
            self.look.click(**look)
            self.place.submit(**look)
            if self.about.clicked:
                self.seen.select(self._clicked, self.scale, self.place).then(**look)

    def _question(self, values: tuple[Any, ...], place: str | None = None) -> Question:
        count, num_texts = len(self.files), len(self.texts)
        files = {name: path for name, path in zip(self.files, values, strict=False) if path}
        texts = {name: text for name, text in zip(self.texts, values[count:], strict=False) if text}
        example, ratio, seed = values[count + num_texts :]
        is_masked = self.about.mask_ratio is not None
        return Question(
            files=files,
            texts=texts,
            example=example,
            mask_ratio=ratio if is_masked else None,
            seed=int(seed),
            place=place or None,
        )

    def _answer(self, *values: Any) -> list[Any]:
        question = self._question(values)
        if not question.files and not question.texts and question.example is None:
            return self._show(Reply(text=_NOTHING))
        reply, fault = _without_fault(lambda: self.answerer.answer(question))
        return self._show(reply or Reply(text=fault), is_wrong=reply is None)

    def _show(self, reply: Reply, *, is_wrong: bool = False) -> list[Any]:
        seen = None if reply.seen is None else _enlarged(reply.seen)
        overlay: dict[str, Any] = {"value": None, "visible": bool(reply.segments)}
        if reply.segments and reply.seen is not None:
            parts = [(_enlarged(each.is_part).astype(float), each.name) for each in reply.segments]
            overlay |= {"value": (seen, parts), "color_map": {each.name: each.colour for each in reply.segments}}
        return [
            _line(reply.text, is_wrong=is_wrong),
            gr.Image(value=seen, visible=seen is not None),
            *(gr.Label(value=dict(reply.labels.get(name, {})), visible=name in reply.labels) for name in self.labels),
            gr.Dataframe(value=[list(row) for row in reply.numbers], visible=bool(reply.numbers)),
            gr.AnnotatedImage(**overlay),
            *(gr.update(value=reply.read.get(name), visible=name in reply.read) for name in self.read),
            *(gr.Image(value=reply.drawn.get(name), visible=name in reply.drawn) for name in self.drawn),
            gr.Audio(value=next(iter(reply.sounds), None), visible=bool(reply.sounds)),
            gr.File(value=list(reply.files) or None, visible=bool(reply.files)),
            1 if reply.seen is None else _scale(reply.seen),
        ]

    def _clicked(self, scale: int, event: gr.SelectData) -> str:
        x, y = event.index
        return f"{int(y) // scale},{int(x) // scale}"

    def _attention(self, *values: Any) -> list[Any]:
        question = self._question(values[:-1], str(values[-1] or "").strip())
        if not question.files and not question.texts and question.example is None:
            pictures, line = [], _line(_NOTHING)
        else:
            found, fault = _without_fault(lambda: self.answerer.attention(question))
            pictures, line = found or [], _line(fault, is_wrong=True) if found is None else ""
        shown = [gr.Image(value=picture, visible=True) for picture in pictures[: len(self.attention)]]
        return [line, *shown, *[gr.Image(value=None, visible=False)] * (len(self.attention) - len(shown))]


def build_page(answerer: Answerer) -> gr.Blocks:
    """The page for a model; `hiperceiver.serve.server` gives it out."""
    about = answerer.about
    with gr.Blocks(title=about.title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.HTML(f"<h1>{_escaped(about.title)}</h1><p>{_escaped(about.subtitle)}</p>")
        _Page(answerer)
    return page


def _without_fault(ask: Callable[[], Any]) -> tuple[Any, str]:
    """An answer, or None and why there is none. Faults of ours are told on standard error."""
    try:
        return ask(), ""
    except Refused as error:
        return None, str(error)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return None, _FAULT


def _image(**arguments: Any) -> gr.Image:
    return gr.Image(interactive=False, format="png", buttons=["fullscreen"], **arguments)


def _reading(each: Input) -> gr.Image | gr.Textbox | gr.Dataframe:
    """Where it is shown what the model reads of a modality."""
    label = f"what it reads of {each.name}"
    if each.read_as == "text":
        return gr.Textbox(label=label, interactive=False, visible=False, max_lines=12)
    if each.read_as == "table":
        return gr.Dataframe(headers=["name", "value"], label=label, interactive=False, visible=False)
    return _image(label=label, visible=False, elem_classes="drawn")


def _file_label(each: Input) -> str:
    return each.name + (
        f" ({', '.join(each.endings[:6])}{', ...' if len(each.endings) > 6 else ''})" * bool(each.endings)
    )


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _line(text: str, *, is_wrong: bool = False) -> str:
    return f'<p class="line{" wrong" * is_wrong}">{_escaped(text)}</p>'


def _scale(pixels: np.ndarray) -> int:
    return max(1, _SHOWN_SIDE // max(pixels.shape[:2]))


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Each pixel as a square, so that single ones can be seen and clicked."""
    scale = _scale(pixels)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
