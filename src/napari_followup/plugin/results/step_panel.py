"""Widgets that make layers in one step: button, progress, results.

`step_factory` makes such a widget of a function that takes layers and returns layer data tuples.
magicgui reads the controls from the annotations and the tips from the docstring; the function runs
in a thread.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from magicgui.backends._qtpy.widgets import QBaseValueWidget
from magicgui.type_map._magicgui import MagicFactory
from magicgui.types import Undefined
from magicgui.widgets import ComboBox, EmptyWidget, FunctionGui
from magicgui.widgets.bases import ValueWidget
from napari.utils._magicgui import find_viewer_ancestor
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_followup.io.replacing import Parts
from napari_followup.plugin.forms.fields import TYPES
from napari_followup.plugin.forms.forms import add_row, column_of, new_form
from napari_followup.plugin.forms.layer_choices import unwrapped
from napari_followup.plugin.forms.preferences import MODES, Preferences
from napari_followup.plugin.layers.layers import LayerTuple, about
from napari_followup.plugin.layers.result_layers import show_layers
from napari_followup.plugin.results.save_panel import SavePanel
from napari_followup.plugin.run.progress import JobPanel
from napari_followup.plugin.run.report import Report

__all__ = ["FormEdit", "StepPanel", "Work", "step_factory"]

Work = Callable[[Report], list[LayerTuple]]


class StepPanel(QWidget):
    """Run the work that `prepare` makes of the controls in a thread, and add the layers it returns.

    Attributes
    ----------
    layers
        Layers that the last run added or updated.
    error
        Error of the last run; empty after a good one.
    """

    finished = Signal()

    def __init__(
        self,
        viewer: Any | None,
        title: str,
        prepare: Callable[[], Work],
        *,
        uses: Callable[[], Sequence[Any]] = tuple,
        keeps_partial: bool = False,
    ) -> None:
        """Show a button `title`; `uses` gives the layers that a run needs."""
        super().__init__()
        self._viewer: Callable[[], Any] = lambda: None
        if viewer is not None:
            self.watch(viewer)
        self._title = title
        self._prepare = prepare
        self._uses = uses
        self._used: list[weakref.ref[Any]] = []
        self._keeps_partial = keeps_partial
        self.layers: list[Any] = []
        self.error = ""
        self.update_existing = True
        self.button = QPushButton(title)
        self.job = JobPanel()
        self.save = SavePanel(self._parts)
        self.save.hide()
        column_of(self, self.button, self.job, self.save, inner=True)
        self.button.clicked.connect(self.run)
        self.job.started.connect(self._on_started)
        self.job.returned.connect(self._on_returned)
        self.job.ended.connect(self._on_ended)

    def watch(self, viewer: Any) -> None:
        """Show results in a viewer."""
        self._viewer = weakref.ref(unwrapped(viewer))

    def run(self) -> None:
        """Start; `finished` says when it is over."""
        if self.job.is_running:
            return
        try:
            work = self._prepare()
        except ValueError as error:
            self.error = str(error)
            self.job.show_text(self.error, is_error=True)
            self.finished.emit()
            return
        self.layers = []
        self._used = [weakref.ref(layer) for layer in self._uses()]
        self.job.start(self._title, work, keeps_partial=self._keeps_partial)

    def stop(self) -> None:
        """End the run; nothing is added, except finished visits where they are kept."""
        self.job.stop()

    @property
    def used(self) -> list[Any]:
        """Layers that the last run used, without those that were removed."""
        return [layer for layer in (reference() for reference in self._used) if layer is not None]

    def stop_without(self, layer: Any) -> None:
        """End the run if it uses this layer, which was removed."""
        if self.job.is_running and any(layer is each for each in self.used):
            self.job.stop(
                reason=f"{layer.name!r} was removed, so the run was stopped; nothing was added."
            )

    def _on_returned(self, layers: list[LayerTuple]) -> None:
        viewer = self._viewer()
        if viewer is not None:
            self.layers = show_layers(viewer, layers, update=self.update_existing)
            made = [f"made {layer.name!r}" for layer in self.layers]
            found = [about(layer).get("provenance", {}).get("notes", ()) for layer in self.layers]
            notes = dict.fromkeys(note for each in found for note in each)  # each of them once
            self.job.show_text("\n".join([*made, *notes]))
            self.save.job.show_text("")  # it was about the previous results
            self.save.format = _usual_format(self.layers)
            self.save.setVisible(bool(self.layers))

    def _parts(self, form: str, stages: bool) -> Parts:
        from napari_followup.plugin.results.save_layers import layer_parts

        viewer = self._viewer()
        left = [layer for layer in self.layers if viewer is not None and layer in viewer.layers]
        if not left:
            raise ValueError("the results are no longer among the layers; run again")
        made = [layer.as_layer_data_tuple() for layer in left]
        return layer_parts([each for each in made if each[2] in ("image", "labels")], form)

    def _on_started(self) -> None:
        self.button.setEnabled(False)
        self.save.hide()

    def _on_ended(self) -> None:
        self.button.setEnabled(True)
        self.error = self.job.error
        self.finished.emit()


class _FormAdaptor(QBaseValueWidget):
    """A form as magicgui takes it: the name of its value, and of the signal of a change."""

    def __init__(
        self, form: Callable[[], QWidget], value: str, signal: str, parent: QWidget | None = None
    ) -> None:
        def made(parent: QWidget | None = None) -> QWidget:
            return form()

        super().__init__(made, "", "", signal, parent=parent)  # type: ignore[arg-type]
        self._value = value

    def _mgui_get_value(self) -> Any:
        return getattr(self._qwidget, self._value)

    def _mgui_set_value(self, value: Any) -> None:
        setattr(self._qwidget, self._value, value)


class FormEdit(ValueWidget[Any]):
    """One of our forms for a parameter of a function; it begins with the value of the form.

    Attributes
    ----------
    has_rows
        Whether the form brings its own rows with labels.
    """

    def __init__(
        self,
        value: Any = Undefined,
        *,
        form: Callable[[], QWidget],
        attribute: str = "value",
        signal: str = "changed",
        has_rows: bool = True,
        **more: Any,
    ) -> None:
        self.has_rows = has_rows
        adapted = {"form": form, "value": attribute, "signal": signal}
        more |= {"nullable": True, "backend_kwargs": adapted, "widget_type": _FormAdaptor}
        super().__init__(**more)


def step_factory(
    function: Callable[..., list[LayerTuple]],
    title: str,
    *,
    begin: Callable[[FunctionGui[..., Any]], None] = lambda gui: None,
    check: Callable[[FunctionGui[..., Any], dict[str, Any]], None] = lambda gui, arguments: None,
    **options: dict[str, Any],
) -> MagicFactory[Any]:
    """Make a factory of widgets that run a function in a thread and add the layers it returns.

    Parameters
    ----------
    function
        Takes layers and settings, and a `Report` as ``report``; returns layer data tuples.
    title
        Of the button.
    begin
        Called with a new widget.
    check
        Called before a run with the widget and the arguments; may change them, or raise a
        ValueError.
    options
        Of the parameters' widgets, by the name of the parameter.

    Returns
    -------
    MagicFactory
        Its widgets have `step`, a `StepPanel`, and a widget a parameter, as ``widget.seed.value``.
    """

    def init(gui: FunctionGui[..., Any]) -> None:
        def prepare() -> Work:
            arguments = gui.asdict()
            check(gui, arguments)
            step.update_existing = gui.then.value
            return lambda report: function(**arguments | {"report": report})

        step = StepPanel(None, title, prepare, uses=lambda: _layers_of(gui))
        gui.append(ComboBox(name="then", choices=list(MODES.items()), gui_only=True))
        gui.step = step
        kept = Preferences.load()
        for name in ("device", "seed"):
            if control := gui.get_widget(name):
                control.value = getattr(kept, name)
        begin(gui)
        _lay_out(gui, step)
        for form in _forms_of(gui):
            form.layer_removed.connect(step.stop_without)
        gui.native_parent_changed.connect(lambda parent: _watch(gui))

    @wraps(function)
    def resolved(*args: Any, **settings: Any) -> list[LayerTuple]:
        return function(*args, **settings)

    signature = inspect.signature(function, eval_str=True)  # magicgui cannot look up its names
    resolved.__signature__ = signature  # type: ignore[attr-defined]
    make: Any = TYPES.magic_factory
    factory: MagicFactory[Any] = make(
        resolved, call_button=False, labels=False, widget_init=init, **options
    )
    return factory


def _watch(gui: FunctionGui[..., Any]) -> None:
    """List the layers of the viewer that the widget is docked in."""
    viewer = find_viewer_ancestor(gui)
    if viewer is not None:
        for part in (gui.step, *_forms_of(gui)):
            part.watch(viewer)


def _forms_of(gui: FunctionGui[..., Any]) -> list[Any]:
    """Forms that choose a layer."""
    return [each.native for each in gui if hasattr(each.native, "layer_removed")]


def _layers_of(gui: FunctionGui[..., Any]) -> list[Any]:
    return [form.layer for form in _forms_of(gui) if form.layer is not None]


def _lay_out(gui: FunctionGui[..., Any], step: StepPanel) -> None:
    """Put the controls into rows whose labels line up."""
    rows = new_form()
    for control in gui:
        if isinstance(control, FormEdit) and control.has_rows:
            rows.addRow(control.native)
        elif not isinstance(control, EmptyWidget):
            add_row(rows, control.label, control.native)
    layout = gui.native.layout()
    layout.addLayout(rows)
    layout.addWidget(step)
    layout.addStretch()


def _usual_format(layers: Sequence[Any]) -> str:
    """Format for results: NIfTI where planes have units of length."""
    units = [unit for layer in layers for unit in layer.units[-2:]]
    return "nifti" if all(unit.is_compatible_with("mm") for unit in units) else "ome-tiff"
