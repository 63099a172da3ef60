"""What objects are: their values and their code, in words that are the same in every process for the same thing.

Code of users is described by its bytecode, with all that it reaches: defaults, closures, the globals that it names, the
classes that it is derived from, their attributes. Code of installed packages is known by name and version. Places of
code (files, lines) and of objects (addresses) are left out.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

__all__ = ["Describer", "digest_of"]

_SIMPLE = (type(None), bool, int, float, str)
_DEEPEST = 100  # levels, of which Python has room for a thousand calls
_NOT_OF_A_CLASS = {"__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__slots__"}
_NOT_OF_A_CLASS |= {"__firstlineno__", "__static_attributes__", "__annotate_func__", "__annotations_cache__"}
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
        self._above: list[int] = []  # the objects that the one in hand is a part of
        self._known: dict[int, tuple[str, Any]] = {}  # digests; the object too, lest another one gets its address

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
        if id(value) in self._above:
            return ["above", len(self._above) - self._above.index(id(value))]
        if len(self._above) > _DEEPEST:
            return self._cannot_see(f"what is nested deeper than {_DEEPEST} levels")
        self._above.append(id(value))
        try:
            text = json.dumps(self._parts_of(value))
        finally:
            self._above.pop()
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        self._known[id(value)] = digest, value
        return digest

    def namespace(self, names: Mapping[str, Any]) -> list[Any]:
        """Describe values by name, in any order."""
        return [[name, self.describe(names[name])] for name in sorted(names)]

    def _parts_of(self, value: Any) -> Any:
        describe = self._by_type().get(type(value))
        describe = describe or next((how for kinds, how in self._by_kind() if isinstance(value, kinds)), self._object)
        return [describe.__name__, describe(value)]

    def _by_type(self) -> dict[type, Any]:
        ordered, paired, unordered = (list, tuple), (dict, OrderedDict, types.MappingProxyType), (set, frozenset)
        hows = ((ordered, self._items), (paired, self._mapping), (unordered, self._set))
        return {kind: how for kinds, how in hows for kind in kinds}

    def _by_kind(self) -> list[tuple[Any, Any]]:
        return [
            (nn.Module, self._network),
            (Tensor, self._tensor),
            (np.ndarray, self._array),
            (torch.Generator, self._generator),
            (type, self._class),
            (types.FunctionType, self._function),
            (types.CodeType, self._code),
            (types.MethodType, self._method),
            (types.ModuleType, self._module),
            (functools.partial, self._partial),
            (property, self._property),
            ((classmethod, staticmethod), self._wrapped),
            (types.CellType, self._cell),
            (weakref.ref, self._reference),
            (_OF_C, self._of_c),
            (_LOCKS, self._name_of_type),
            (types.MemberDescriptorType, self._name_of_type),
            (Callback, self._callback),
        ]

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
        items = []
        for item in value:  # in an order of its own in each process: none may know of those before
            alone = Describer()
            alone._above, alone._known, alone.unseen = self._above, dict(self._known), self.unseen
            items.append(json.dumps(alone.describe(item)))
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
            reduced = value.__reduce_ex__(4)
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

    def _reference(self, value: Any) -> Any:
        return self.describe(value())

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
        left_out = {"_abc_impl", *_NOT_OF_A_CLASS}
        own = {name: item for name, item in vars(kind).items() if name not in left_out and not _is_inherited_step(item)}
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
        found = [(name, scope[name]) for name in sorted(named)]
        found += [pair for code in codes for pair in _imported(code, scope)]
        return [[name, self._named_of(thing, names)] for name, thing in found]

    def _named_of(self, value: Any, names: set[str]) -> Any:
        if not isinstance(value, types.ModuleType) or _is_library(value.__name__):
            return self.describe(value)
        used = sorted(names & vars(value).keys())
        return [value.__name__, [[name, self._named_of(vars(value)[name], names - {name})] for name in used]]

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
    ours = Path(__file__).parent
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


def _imported(code: types.CodeType, scope: dict[str, Any]) -> Iterator[tuple[str, types.ModuleType]]:
    """Give the modules of users that a function imports, which it would do anyhow."""
    steps = list(dis.get_instructions(code))
    for number, step in enumerate(steps):
        if step.opname != "IMPORT_NAME":
            continue
        level, names = (before.argval for before in steps[number - 2 : number])
        try:
            name = importlib.util.resolve_name("." * level + step.argval, scope.get("__package__") or "")
            found = importlib.util.find_spec(name.partition(".")[0])
            if found is not None and found.origin and not _is_library_file(found.origin):
                yield name, __import__(name, fromlist=names or [""])
        except Exception:  # it fails when it runs, or never runs
            continue


def _is_place(constant: Any, code: types.CodeType) -> bool:
    """Say whether a constant of a class's body is the number of its first line, as Python 3.13 has it."""
    return "__firstlineno__" in code.co_names and constant == code.co_firstlineno
