// Stands in for the CUDA toolkit's header where .cu files are compiled by the host's compiler (tests/cuda_emulation).
#pragma once

#include "tests/cuda_emulation/include/device_functions.h"
#include "tests/cuda_emulation/include/device_model.h"
#include "tests/cuda_emulation/include/external_memory.h"
#include "tests/cuda_emulation/include/runtime_calls.h"
