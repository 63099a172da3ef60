"""What objects are: their values and their code, in words that are the same in every process for the same thing.

Code of users is described by its bytecode, with all that it reaches: defaults, closures, the globals that it names, the
classes that it is derived from, their attributes. Modules that it would import while it runs are read, never imported.
Code of installed packages is known by name and version. Places of code (files, lines) and of objects (addresses) are
left out.
"""

from __future__ import annotations

import copyreg
import dis
import enum
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import sys
import sysconfig
import threading
import types
import warnings
import weakref
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

__all__ = ["Describer", "digest_of"]

_SIMPLE = (type(None), bool, int, float, str)
_DEEPEST = 100  # levels, of which Python has room for a thousand calls
_NOT_OF_A_CLASS = {"__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__slots__"}
_NOT_OF_A_CLASS |= {"__firstlineno__", "__static_attributes__", "__annotate_func__", "__annotations_cache__"}
_NOT_OF_A_CLASS |= {"_abc_impl", "__slotnames__", "_value2member_map_"}  # which use fills: pickles, or flags joined
_READ_FROM_FILES: set[str] = set()  # modules, which are so for good: that a fit imports them later is no change
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_OF_C = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MethodWrapperType,
)


class Describer:
    """Turns objects into what JSON can say.

    Attributes
    ----------
    unseen : list of str
        Names of what was reached whose inside cannot be seen: files, code and objects of C extensions.
    """

    def __init__(self) -> None:
        self.unseen: list[str] = []
        self._enclosing: list[int] = []  # ids of the objects that the one in hand is a part of
        self._known: MutableMapping[int, tuple[str, Any]] = {}  # digests; the object too, which keeps its address
        self._read: dict[str, types.CodeType | None] = {}  # code of modules that are not imported

    def describe(self, value: Any) -> Any:
        """Describe anything."""
        if isinstance(value, np.generic) and not value.dtype.hasobject:
            value = value.item()
        if type(value) in _SIMPLE:
            return value
        if type(value) in (list, tuple) and all(type(item) in _SIMPLE for item in value):
            return list(value)
        if isinstance(value, types.FunctionType) and getattr(value, "hooked", False):
            value = getattr(value, "__wrapped__", value)  # torch wraps an optimizer's step when it makes the first one
        if type(value) in (bytes, complex, type(...)):
            return [type(value).__name__, repr(value)]
        if id(value) in self._known:
            return self._known[id(value)][0]
        if id(value) in self._enclosing:
            return ["above", len(self._enclosing) - self._enclosing.index(id(value))]
        if len(self._enclosing) > _DEEPEST:
            return self._cannot_see(f"what is nested deeper than {_DEEPEST} levels")
        self._enclosing.append(id(value))
        try:
            text = json.dumps(self._parts_of(value))
        finally:
            self._enclosing.pop()
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        self._known[id(value)] = digest, value
        return digest

    def namespace(self, names: Mapping[str, Any]) -> list[Any]:
        """Describe values by name, in any order."""
        return [[name, self.describe(names[name])] for name in sorted(names)]

    def _parts_of(self, value: Any) -> Any:
        how = self._BY_TYPE.get(type(value))
        how = how or next((how for kinds, how in self._BY_KIND if isinstance(value, kinds)), Describer._object)
        return [how.__name__, how(self, value)]

    # values

    def _tensor(self, value: Tensor) -> Any:
        outline = [str(value.dtype), list(value.shape), value.requires_grad, str(value.layout)]
        if value.device.type == "meta" or value.is_quantized or torch.nn.parameter.is_lazy(value):
            return [outline, str(value)]
        if value.layout != torch.strided:
            value = value.to_dense()
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return [outline, digest_of(flat.view(torch.uint8).numpy()) if len(flat) else ""]

    def _array(self, value: np.ndarray) -> Any:
        if value.dtype.hasobject:
            return [str(value.dtype), list(value.shape), self.describe(value.tolist())]
        return digest_of(value)

    def _generator(self, value: torch.Generator) -> Any:
        return self.describe(value.get_state())

    def _items(self, value: Any) -> Any:
        return list(map(self.describe, value))

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        return [[self.describe(key), self.describe(item)] for key, item in value.items()]

    def _set(self, value: Any) -> Any:
        known, items = self._known, []
        try:
            for item in value:  # in an order of its own in each process: none may know of those before
                self._known = ChainMap({}, known)
                items.append(json.dumps(self.describe(item)))
        finally:
            self._known = known
        return sorted(items)

    def _network(self, value: nn.Module) -> Any:
        if isinstance(value, torch.jit.ScriptModule):
            return [[str(getattr(part, "code", "")) for part in value.modules()], self.describe(value.state_dict())]
        if "_orig_mod" in value._modules:  # inside torch.compile's wrapper
            return self.describe(value._modules["_orig_mod"])
        own = {
            name: list(item.values()) if "_hooks" in name and isinstance(item, dict) else item  # its keys are counted
            for name, item in vars(value).items()  # through the whole process
        }
        return [self.describe(type(value)), self.namespace(own)]

    def _callback(self, value: Any) -> Any:
        settings = {name: item for name, item in vars(value).items() if not name.endswith("_")}  # not what use has left
        return [self.describe(type(value)), self.namespace(settings)]

    def _object(self, value: Any) -> Any:
        """Describe an object by what a pickle would hold of it, or else by its attributes."""
        kind, home, name = type(value), getattr(value, "__module__", None), getattr(value, "__name__", None)
        if _is_library(home) and name and getattr(sys.modules.get(str(home)), str(name), None) is value:
            return f"{home}.{name} {_version(home)}"
        if kind.__name__ == "cython_function_or_method":
            return self._cannot_see(f"the code of {home}.{name}")
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # as it pleases the class
            if _is_library(kind.__module__):
                return self._cannot_see(f"an object of {_name(kind)}")
            slots = [name for base in kind.__mro__ for name in _slots_of(base) if hasattr(value, name)]
            attributes = {name: getattr(value, name) for name in slots} | getattr(value, "__dict__", {})
            return [self.describe(kind), self.namespace(attributes)]
        if isinstance(reduced, str):
            return [self.describe(kind), reduced, self.describe(getattr(value, "__wrapped__", None))]
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, dict):
            state = self.namespace({str(name): item for name, item in state.items()})
        parts = [make, arguments, state, items and list(items), pairs and list(pairs)]
        return [self.describe(kind), *map(self.describe, parts)]

    def _member(self, value: enum.Enum) -> Any:
        """Describe a member of an enumeration: some versions of Python pickle it by name alone."""
        return [self.describe(type(value)), value._name_, self.describe(value._value_)]

    def _reference(self, value: Any) -> Any:
        return self.describe(value())

    def _ufunc(self, value: np.ufunc) -> str:
        homes = [home for home in ("numpy", "scipy.special") if home in sys.modules]
        home = next((home for home in homes if getattr(sys.modules[home], value.__name__, None) is value), None)
        return f"{home}.{value.__name__} {_version(home)}" if home else self._cannot_see("an object of numpy.ufunc")

    def _writer_of_logs(self, value: logging.Logger | logging.Handler) -> Any:
        return [self.describe(type(value)), value.name]

    def _representation(self, value: Any) -> str:
        return repr(value)

    def _name_of_type(self, value: Any) -> str:
        return _name(type(value))

    def _cannot_see(self, what: str) -> str:
        if what not in self.unseen:
            self.unseen.append(what)
        return what

    # code

    def _class(self, kind: type) -> Any:
        if _is_library(kind.__module__):
            return _library_name(kind)
        items = [(name, item) for name, item in vars(kind).items() if name not in _NOT_OF_A_CLASS]
        own = {name: item for name, item in items if not _is_inherited_step(item)}
        if issubclass(kind, Callback):
            own = {name: item for name, item in own.items() if name.startswith("__") or not name.endswith("_")}
        return [_name(kind), list(map(self.describe, (type(kind), *kind.__bases__))), self.namespace(own)]

    def _function(self, value: types.FunctionType) -> Any:
        code = value.__code__
        inside = [value.__defaults__, value.__kwdefaults__, value.__closure__]
        if _is_library_file(code.co_filename):
            made_at_run_time = "<locals>" in code.co_qualname
            name = f"{code.co_qualname} of {_name(value)} {_version(value.__globals__.get('__name__'))}"
            return [name, list(map(self.describe, inside))] if made_at_run_time else name
        own = {name: item for name, item in vars(value).items() if name != "__wrapped__"}
        parts = [*map(self.describe, (code, *inside)), self.namespace(own)]
        return [_name(value), *parts, self._globals(value)]

    def _globals(self, value: types.FunctionType) -> list[Any]:
        """Describe the globals that a function names, and what it names of the modules among them."""
        scope, codes = value.__globals__, list(_codes_in(value.__code__))
        names = {name for code in codes for name in code.co_names}
        named = {name for code in codes for name in _global_names(code)} & scope.keys()
        package = scope.get("__package__")
        read = _READ_FROM_FILES.intersection(name for code in codes for name in _imported(code, package))
        found = [[name, self._named_of(scope[name], names, read)] for name in sorted(named)]
        return found + self._imports(codes, package)

    def _named_of(self, value: Any, names: set[str], read: set[str]) -> Any:
        """Describe what is named of a module; without what is read from files, which are described elsewhere."""
        if not isinstance(value, types.ModuleType) or _is_library(value.__name__):
            return self.describe(value)
        inside = {name: vars(value)[name] for name in sorted(names & vars(value).keys())}
        used = [(name, item) for name, item in inside.items() if _name_of_module(item) not in read]
        return [value.__name__, [[name, self._named_of(item, names - {name}, read)] for name, item in used]]

    def _imports(self, codes: Iterable[types.CodeType], package: str | None) -> list[Any]:
        """Describe the modules of users that code imports, without importing any, which may do whatever they please.

        What is named of those that are there, and the code of the others with all that it imports in turn.
        """
        said, waiting, followed = [], [(list(codes), package)], set()
        for codes, package in waiting:
            names = {name for code in codes for name in code.co_names}
            imported = dict.fromkeys(name for code in codes for name in _imported(code, package))
            read = _READ_FROM_FILES.intersection(imported)
            for name in imported:
                if name in sys.modules and name not in read:
                    if not _is_library(name):
                        said.append([name, self._named_of(sys.modules[name], names, read)])
                elif name not in followed and (spec := _spec_of(name)) is not None:
                    followed.add(name)
                    _READ_FROM_FILES.add(name)
                    code = self._read_code(name, spec)
                    said.append([name, self.describe(code)])
                    inside = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
                    waiting.append((list(_codes_in(code)) if code else [], inside))
        return said

    def _read_code(self, name: str, spec: ModuleSpec) -> types.CodeType | None:
        loader: Any = spec.loader  # none of a mere folder
        if name not in self._read:
            try:
                with warnings.catch_warnings(action="ignore"):  # of its syntax
                    source = loader.get_source(spec.name) if loader else ""
                    self._read[name] = compile(source, name, "exec", dont_inherit=True)
            except Exception:  # no source, or none that compiles
                self._read[name] = None
        if self._read[name] is None:
            self._cannot_see(f"the code of {name}")
        return self._read[name]

    def _code(self, code: types.CodeType) -> Any:
        constants = [item for item in code.co_consts if not _is_place(item, code)]
        arguments = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        return [
            code.co_code.hex(),
            code.co_exceptiontable.hex(),
            self.describe(constants),
            arguments,
            self.describe(names),
        ]

    def _method(self, value: types.MethodType) -> Any:
        return [self.describe(value.__func__), self.describe(value.__self__)]

    def _partial(self, value: functools.partial[Any]) -> Any:
        return [self.describe(value.func), self.describe(value.args), self.namespace(value.keywords)]

    def _property(self, value: property) -> Any:
        return [self.describe(part) for part in (value.fget, value.fset, value.fdel)]

    def _wrapped(self, value: Any) -> Any:
        return [_name(type(value)), self.describe(value.__func__)]

    def _cell(self, value: types.CellType) -> Any:
        try:
            return self.describe(value.cell_contents)
        except ValueError:
            return "empty"

    def _module(self, value: types.ModuleType) -> str:
        return _library_name(value) if _is_library(value.__name__) else value.__name__

    def _of_c(self, value: Any) -> Any:
        owner = getattr(value, "__objclass__", getattr(value, "__self__", None))
        name = getattr(value, "__qualname__", value.__name__)
        if isinstance(owner, (type, types.ModuleType)) or type(owner).__name__ in ("NoneType", "PyCapsule"):
            home = getattr(value, "__module__", None) or getattr(owner, "__module__", None) or _name(owner)
            if not _is_library(home):
                return self._cannot_see(f"the code of {home}.{name}")
            return f"{home}.{name} {_version(home)}"
        return [name, self.describe(owner)]

    _BY_TYPE: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {
        **dict.fromkeys((list, tuple, type({}.keys()), type({}.values()), type({}.items())), _items),
        **dict.fromkeys((dict, OrderedDict, types.MappingProxyType), _mapping),
        **dict.fromkeys((set, frozenset), _set),
        **dict.fromkeys((torch.layout, torch.finfo, torch.iinfo), _representation),
    }
    _BY_KIND: ClassVar[list[tuple[Any, Callable[[Any, Any], Any]]]] = [
        (nn.Module, _network),
        (Tensor, _tensor),
        (np.ndarray, _array),
        (np.ufunc, _ufunc),
        (torch.Generator, _generator),
        (type, _class),
        (types.FunctionType, _function),
        (types.CodeType, _code),
        (types.MethodType, _method),
        (types.ModuleType, _module),
        (functools.partial, _partial),
        (property, _property),
        ((classmethod, staticmethod), _wrapped),
        (types.CellType, _cell),
        (weakref.ref, _reference),
        (_OF_C, _of_c),
        (_LOCKS, _name_of_type),
        (types.MemberDescriptorType, _name_of_type),
        (Callback, _callback),
        (enum.Enum, _member),
        ((logging.Logger, logging.Handler), _writer_of_logs),
    ]


def digest_of(array: np.ndarray) -> str:
    """Give dtype, shape and a digest of the bytes of an array of no objects."""
    numbers = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""
    content = hashlib.blake2b(numbers, digest_size=16)
    return f"{array.dtype} {array.shape} {content.hexdigest()}"


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or ""
    module = "__main__" if module == "__mp_main__" else module  # what a spawned process calls it
    return f"{module}.{getattr(thing, '__qualname__', getattr(thing, '__name__', ''))}"


def _library_name(thing: Any) -> str:
    module = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    return f"{_name(thing)} {_version(module)}"


def _version(module: Any) -> str:
    package = str(module).partition(".")[0]
    if package in sys.stdlib_module_names:
        return sysconfig.get_python_version()
    version = getattr(sys.modules.get(package), "__version__", None)
    return str(version or _version_of_distribution(package))


@functools.cache
def _version_of_distribution(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _is_library(module: Any) -> bool:
    """Say whether a module of that name is Python's own, noisyfit's, or of an installed package."""
    package = str(module).partition(".")[0]
    if package in ("__main__", "__mp_main__"):
        return False
    files = (getattr(sys.modules.get(name), "__file__", None) for name in (str(module), package))
    file = next(filter(None, files), None)
    return package in sys.stdlib_module_names if file is None else _is_library_file(file)


@functools.cache
def _is_library_file(file: str) -> bool:
    if file.startswith("<frozen"):
        return True
    path = Path(file)
    folders = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    ours = Path(__file__).parents[1]
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return installed or any(path.is_relative_to(folder) for folder in (*folders, ours))


def _is_inherited_step(item: Any) -> bool:
    """Say whether torch has put it into an optimizer's class, which inherits it, when it made the first one."""
    return getattr(item, "hooked", False) is True and _is_library(item.__wrapped__.__module__)


def _slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """Give the code of a function and of all functions and classes that are made in it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from _codes_in(item)


def _global_names(code: types.CodeType) -> set[str]:
    return {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _imported(code: types.CodeType, package: str | None) -> Iterator[str]:
    """Give the names of what may be modules of users that code imports, each after the packages that it is in."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for number, step in enumerate(steps):
        if step.opname != "IMPORT_NAME":
            continue
        level, names = (before.argval for before in steps[number - 2 : number])
        try:
            module = importlib.util.resolve_name("." * level + step.argval, package or "")
        except ImportError:  # as when it runs
            continue
        parts = module.split(".")
        yield from (".".join(parts[: length + 1]) for length in range(len(parts)))
        yield from (f"{module}.{name}" for name in names or ())


def _spec_of(module: str) -> ModuleSpec | None:
    """Find a module of users without importing it, nor the packages that it is in."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for part in below:
            folders = spec.submodule_search_locations if spec else None
            spec = None if folders is None else PathFinder.find_spec(part, folders)
    except Exception:  # as it pleases who finds
        return None
    if spec is None or (spec.has_location and _is_library_file(str(spec.origin))):
        return None
    return spec if spec.has_location or spec.submodule_search_locations is not None else None  # none that is built in


def _name_of_module(value: Any) -> str | None:
    return value.__name__ if isinstance(value, types.ModuleType) else None


def _is_place(constant: Any, code: types.CodeType) -> bool:
    """Say whether a constant of a class's body is the number of its first line, as Python 3.13 has it."""
    return "__firstlineno__" in code.co_names and constant == code.co_firstlineno
