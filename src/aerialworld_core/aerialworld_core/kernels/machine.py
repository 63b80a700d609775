"""The machine that kernels run on: LLVM's optimiser, the code it makes, and that code in this process."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from typing import Any

import llvmlite
from llvmlite import binding as llvm

_lock = threading.Lock()


class _Machine:
    """One per process. `name` tells machines apart between which code cannot be exchanged."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        self.triple = llvm.get_process_triple()
        # Code is placed anywhere in memory, far from what it calls: LLVM's large code model, as for every JIT.
        reloc = "static" if self.triple.startswith(("x86", "i386", "i686")) else "default"
        self.target = llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=cpu, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
        )
        empty = llvm.parse_assembly(f'target triple = "{self.triple}"')
        self.engine = llvm.create_mcjit_compiler(empty, self.target)
        words = (self.triple, cpu, features, llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)))
        self.name = hashlib.sha256("\0".join(words).encode()).hexdigest()


@cache
def _machine() -> _Machine:
    return _Machine()


def machine_name() -> str:
    with _lock:
        return _machine().name


def compiled(module: Any) -> bytes:
    """Object code of a module (llvmlite.ir), optimised for this processor."""
    with _lock:
        machine = _machine()
        module.triple = machine.triple
        module.data_layout = str(machine.engine.target_data)
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        tuning.loop_vectorization = tuning.slp_vectorization = True
        builder = llvm.create_pass_builder(machine.target, tuning)
        builder.getModulePassManager().run(parsed, builder)
        code: bytes = machine.target.emit_object(parsed)
        return code


def loaded(code: bytes, symbol: str) -> int:
    """Load object code and return the address of one of its functions, whose name no other code loaded has."""
    with _lock:
        engine = _machine().engine
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address: int = engine.get_function_address(symbol)
        if not address:
            raise RuntimeError(f"compiled code has no function {symbol}")
        return address


def add_library(path: str) -> None:
    """Make a C library's functions known to kernels. Raises RuntimeError when it does not load."""
    llvm.load_library_permanently(path)
