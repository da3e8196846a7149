"""A ParaView plugin: open a run's run.h5 (or a segment) in File > Open, pick layer and quantity, scrub time.

Load it with Tools > Manage Plugins > Load New, or with PV_PLUGIN_PATH; `tensorview-insitu plugin` says
how. ParaView's Python needs h5py (Debian: apt install python3-h5py). Debian's ParaView 5.11 needs the shim
in the folder beside this file on PYTHONPATH.

Image data: x = filter, y = column, z = row; one array for each value of the other axes (input channels,
samples of the probe). Time counts epochs.
"""

import numpy as np
from paraview.util.vtkAlgorithm import smdomain, smhint, smproperty, smproxy
from vtkmodules.util import numpy_support
from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
from vtkmodules.vtkCommonCore import vtkOutputWindow
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline as Pipeline

# The groups of a run that hold arrays of layers, and what a quantity of theirs is called.
GROUPS = {
    "layers": "{}",
    "gradients": "gradient of {}",
    "filter_gradient_norms": "gradient norm per filter of {}",
    "statistics": "statistics of {}",
    "activations": "activation {}",
}
SPACE = ("row", "column", "position")
MOST_ARRAYS = 512
DEEPEST = 100  # a group of a damaged file may contain itself

_LIST = (
    '<StringListDomain name="list"><RequiredProperties>'
    '<Property name="{}" function="StringInfo"/></RequiredProperties></StringListDomain>'
)


@smproxy.reader(
    name="TensorViewReader",
    label="TensorViewReader",
    extensions="h5",
    file_description="tensorview-insitu run",
)
class TensorViewReader(VTKPythonAlgorithmBase):
    """Reads one quantity of one layer of a run."""

    def __init__(self):
        VTKPythonAlgorithmBase.__init__(self, nInputPorts=0, nOutputPorts=1, outputType="vtkImageData")
        self._file = self._layer = self._quantity = None

    # ---- what ParaView shows of it

    @smproperty.stringvector(name="FileName")
    @smdomain.filelist()
    @smhint.filechooser(extensions="h5", file_description="tensorview-insitu run")
    def SetFileName(self, name):
        """The run.h5."""
        if name != self._file:
            self._file = name
            self.Modified()

    @smproperty.doublevector(name="TimestepValues", information_only="1", si_class="vtkSITimeStepsProperty")
    def GetTimestepValues(self):
        """The epochs of the snapshots."""
        return self._reading(lambda file: times(file, self._dataset(file)).tolist(), None)

    @smproperty.stringvector(name="Layers", information_only="1")
    def GetLayers(self):
        """All layers."""
        return self._reading(lambda file: list(dict.fromkeys(layer for layer, _ in datasets(file))), [])

    @smproperty.stringvector(name="Layer", number_of_elements="1")
    @smdomain.xml(_LIST.format("Layers"))
    def SetLayer(self, name):
        """Which layer."""
        self._layer = self._chosen(name, self._layer)

    @smproperty.stringvector(name="Quantities", information_only="1")
    def GetQuantities(self):
        """All quantities of any layer."""
        return self._reading(lambda file: list(dict.fromkeys(what for _, what in datasets(file))), [])

    @smproperty.stringvector(name="Quantity", number_of_elements="1")
    @smdomain.xml(_LIST.format("Quantities"))
    def SetQuantity(self, name):
        """Which quantity."""
        self._quantity = self._chosen(name, self._quantity)

    def _chosen(self, name, before):
        name = None if name in ("", "None", None) else name  # a string without a default comes as "None"
        if name != before:
            self.Modified()
        return name

    # ---- the pipeline

    def RequestInformation(self, request, inputs, outputs):
        """Say which times there are, and how large the image is."""

        def tell(file):
            dataset = self._dataset(file)
            known = times(file, dataset)
            info = outputs.GetInformationObject(0)
            info.Remove(Pipeline.TIME_STEPS())
            info.Remove(Pipeline.TIME_RANGE())
            for time in known:
                info.Append(Pipeline.TIME_STEPS(), float(time))
            for time in (known[0], known[-1]):
                info.Append(Pipeline.TIME_RANGE(), float(time))
            size = image_size(dataset)
            info.Set(Pipeline.WHOLE_EXTENT(), (0, size[2] - 1, 0, size[1] - 1, 0, size[0] - 1), 6)
            return 1

        return self._reading(tell, 0)

    def RequestData(self, request, inputs, outputs):
        """Read the snapshot of the time that is asked for."""

        def fill(file):
            dataset = self._dataset(file)
            known = times(file, dataset)
            info = outputs.GetInformationObject(0)
            at = 0
            if info.Has(Pipeline.UPDATE_TIME_STEP()):
                at = int(np.argmin(np.abs(known - info.Get(Pipeline.UPDATE_TIME_STEP()))))
            image = vtkImageData.GetData(outputs, 0)
            size = image_size(dataset)
            image.SetDimensions(size[2], size[1], size[0])
            for name, values in arrays(dataset, at):
                array = numpy_support.numpy_to_vtk(np.ascontiguousarray(values, np.float32).ravel(), deep=1)
                array.SetName(name)
                image.GetPointData().AddArray(array)
            image.GetPointData().SetActiveScalars(next(arrays(dataset, at))[0])
            image.GetInformation().Set(image.DATA_TIME_STEP(), float(known[at]))
            return 1

        return self._reading(fill, 0)

    def _dataset(self, file):
        held = datasets(file)
        if not held:
            raise ValueError("it holds no arrays of layers")
        layer = self._layer or next(iter(held))[0]
        own = [what for name, what in held if name == layer]
        what = self._quantity if self._quantity in own else None
        if self._quantity and what is None:
            raise ValueError(f"layer {layer} has no {self._quantity}; it has: {', '.join(own)}")
        return file[held[layer, what or own[0]]]

    def _reading(self, do, otherwise):
        """What `do` makes of the open file; told in a line where it cannot be."""
        if not self._file:
            return otherwise
        try:
            import h5py
        except ImportError:
            return self._told("ParaView's Python has no h5py (Debian: apt install python3-h5py)", otherwise)
        try:
            with h5py.File(self._file, "r", locking=False) as file:
                if _text(file.attrs.get("format", "")) != "tensorview-insitu run":
                    return self._told(f"{self._file} is no run of tensorview-insitu", otherwise)
                return do(file)
        except (OSError, KeyError, ValueError) as error:
            return self._told(f"{self._file}: {error}", otherwise)

    def _told(self, problem, otherwise):
        vtkOutputWindow.GetInstance().DisplayErrorText(f"TensorViewReader: {problem}\n")
        return otherwise


def datasets(file):
    """`{(layer, quantity): path}` of all arrays of layers, the layers in the order of the file."""
    import h5py

    found = {}

    def look(group, pattern, path, depth):
        inside = file[f"{group}/{path}" if path else group]
        for name in inside if depth < DEEPEST else ():
            # A recorder writes no links, and HDF5 would follow one to any file.
            if not isinstance(inside.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{inside.name}/{name} is a link to elsewhere")
            thing, below = inside[name], f"{path}/{name}" if path else name
            if isinstance(thing, h5py.Group):
                look(group, pattern, below, depth + 1)
            elif thing.external or thing.is_virtual:
                raise ValueError(f"{thing.name} is stored in another file")
            elif not name.endswith("_steps") and "dims" in thing.attrs:
                found[path, pattern.format(name)] = f"{group}/{below}"

    for group, pattern in GROUPS.items():
        if group in file:
            if not isinstance(file.get(group, getlink=True), h5py.HardLink):
                raise ValueError(f"{group} is a link to elsewhere")
            look(group, pattern, "", 0)
    return found


def times(file, dataset):
    """The time in epochs of every snapshot: whole at an epoch's end, a fraction inside it."""
    steps = file[dataset.name + "_steps"][:].astype(float)
    ends, epochs = np.zeros(1), np.zeros(1)
    if "scalars/epoch" in file:
        columns = _list(file["scalars/epoch"].attrs["columns"])
        epochs = np.append(epochs, file["scalars/epoch"][:, columns.index("epoch")])
        ends = np.append(ends, file["scalars/epoch_steps"][:].astype(float))
    length = (ends[-1] / epochs[-1]) if epochs[-1] else max(1.0, steps[-1])
    later = np.maximum(0.0, steps - ends[-1]) / length
    return np.interp(steps, ends, epochs) + later


def image_size(dataset):
    """`(z, y, x)`: how many values along each."""
    free = _free(dataset)
    size = [dataset.shape[1:][axis] for axis in free]
    return [1] * (3 - len(size)) + size


def arrays(dataset, at):
    """`(name, values)` of one snapshot, the values in the order z, y, x."""
    free = _free(dataset)
    values = dataset[at]
    others = [axis for axis in range(values.ndim) if axis not in free]
    moved = np.transpose(values, [*others, *free])
    name = dataset.name.rsplit("/", 1)[-1]
    base = "weight" if name.endswith("kernel") and "/layers/" in dataset.name else name
    if not others:
        yield base, moved
        return
    for number, place in enumerate(np.ndindex(*moved.shape[: len(others)])):
        if number < MOST_ARRAYS:
            yield f"{base}_{number}", moved[place]


def _free(dataset):
    """The axes of a snapshot that are drawn, at most three: rows, columns and filters."""
    dims = _list(dataset.attrs["dims"])[1:]
    if len(dims) <= 3:
        return list(range(len(dims)))
    filters = int(dataset.attrs["filter_axis"]) - 1
    space = [axis for axis, dim in enumerate(dims) if dim in SPACE and axis != filters]
    return [*space[-2:], filters]


def _list(value):
    import json

    return json.loads(_text(value))


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
