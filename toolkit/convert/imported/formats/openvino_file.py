"""OpenVINO models, used without changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from toolkit.convert.imported.file_facts import FileFacts, facts_of_metadata
from toolkit.convert.imported.formats.frontend import metadata_text
from toolkit.convert.imported.formats.model_file import ModelFile, Numbers, Runtime, damaged, one_at_a_time
from toolkit.errors import DataError

if TYPE_CHECKING:
    import openvino as ov

_EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


@dataclass(frozen=True)
class OpenvinoFile(ModelFile):
    """An .xml file with its .bin; OpenVINO itself gives the reference answers, in float32."""

    format: ClassVar[str] = "openvino"
    runtime_name: ClassVar[str] = "OpenVINO"
    usual_layout: ClassVar[str] = "NCHW"

    def graph(self) -> ov.Model:
        """The graph in the file."""
        import openvino as ov

        self.side_files()
        try:
            return ov.Core().read_model(self.path)
        except RuntimeError as error:
            raise damaged(self.path, str(error)) from None

    def runtime(self) -> Runtime:
        """The model compiled as it is."""
        import openvino as ov

        graph = self.graph()
        shape = graph.input(0).partial_shape
        compiled = ov.Core().compile_model(graph, "CPU", _EXACT)

        def run(images: Numbers) -> Numbers:
            return np.asarray(compiled([images])[compiled.output(0)])

        return one_at_a_time(run, None if shape[0].is_dynamic else shape[0].get_length())

    def facts(self) -> FileFacts:
        """What the Model API's `model_info` says."""
        result: Any = self.graph().get_rt_info()
        if "model_info" not in result:
            return FileFacts()
        info = result["model_info"]
        return facts_of_metadata({str(key): metadata_text(info[key]) for key in info})

    def side_files(self) -> tuple[str, ...]:
        """The .bin with the weights."""
        name = self.path.with_suffix(".bin").name
        if not self.path.with_suffix(".bin").is_file():
            raise DataError(
                f"keeps its weights in {name}, which is missing",
                where=str(self.path),
                remedy=f"copy {name} there",
            )
        return (name,)
