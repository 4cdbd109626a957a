"""The losses of a training, phase by phase, on a linear or a logarithmic scale."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_followup.plugin.models.train_methods import STAGES
from napari_followup.plugin.train.loss_plot import LossPlot, Points

__all__ = ["LossPanel"]


class LossPanel(QWidget):
    """The plot of one phase; once there are several, the user chooses which."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, tuple[Points, Points]] = {}
        self.plot, self.log_box, self.stage = LossPlot(), QCheckBox("log scale"), QComboBox()
        self.stage.setToolTip("Phase whose losses are shown")
        self.stage.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.stage.setMinimumContentsLength(8)  # the names are long, the dock is narrow
        row = QHBoxLayout()
        row.addWidget(self.log_box)
        row.addWidget(self.stage, stretch=1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addLayout(row)
        self.log_box.toggled.connect(self.plot.set_log)
        self.stage.currentIndexChanged.connect(self._draw)
        self.clear()

    def clear(self) -> None:
        """Forget the losses of another run."""
        self._known = {}
        self.stage.clear()
        self.stage.hide()
        self.plot.show_losses((), ())

    def show_losses(self, stage: str, losses: Points, validations: Points) -> None:
        """Show the newest losses of a phase; one that begins comes to the front."""
        self._known[stage] = losses, validations
        if self.stage.findData(stage) < 0:
            self.stage.addItem(STAGES.get(stage, stage), stage)
            self.stage.setCurrentIndex(self.stage.count() - 1)
            self.stage.setVisible(self.stage.count() > 1)
        self._draw()

    def _draw(self, _: object = None) -> None:
        if self.stage.currentData() in self._known:
            self.plot.show_losses(*self._known[self.stage.currentData()])
