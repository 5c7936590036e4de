# Dear ImGui (docking), ImPlot and their GLFW and Vulkan back ends from one pinned source archive (imgui-bundle's): targets gs_imgui and
# gs_implot; with GATESCOPE_TEST_ENGINE also gs_imgui_test and gs_implot_test. Where the source comes from, first hit wins:
#   GATESCOPE_IMGUI_DIR      an unpacked tree, taken as it is
#   GATESCOPE_IMGUI_ARCHIVE  a local copy of the archive, SHA-256 checked
#   GATESCOPE_DEPS_DIR       the cache: $XDG_CACHE_HOME/gatescope or ~/.cache/gatescope, shared by all build folders
#   pip download             unless GATESCOPE_OFFLINE
set(GATESCOPE_IMGUI_VERSION 1.93.0)
set(GATESCOPE_IMGUI_SHA256 10ad1dab8258a6787b4f07bb926b08d0efc648a7906242568c8dd778c5e719bf)

if(NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(_cache "$ENV{XDG_CACHE_HOME}/gatescope")
elseif(NOT "$ENV{HOME}" STREQUAL "")
  set(_cache "$ENV{HOME}/.cache/gatescope")
else()
  set(_cache "${CMAKE_BINARY_DIR}/deps")
endif()
set(GATESCOPE_DEPS_DIR "${_cache}" CACHE PATH "Where fetched archives are kept and unpacked")
set(GATESCOPE_IMGUI_ARCHIVE "" CACHE FILEPATH "A local imgui_bundle-${GATESCOPE_IMGUI_VERSION}.tar.gz")
set(GATESCOPE_IMGUI_DIR "" CACHE PATH "An unpacked imgui-bundle tree")
option(GATESCOPE_OFFLINE "Fetch nothing while configuring" OFF)
option(GATESCOPE_TEST_ENGINE "Also build ImGui with its test engine (own licence; never in the program)" OFF)

# gs_imgui_archive(out): path of a checked archive, fetched if need be.
function(gs_imgui_archive out)
  set(name imgui_bundle-${GATESCOPE_IMGUI_VERSION}.tar.gz)
  string(CONCAT remedy "Put ${name} into ${GATESCOPE_DEPS_DIR}, or set GATESCOPE_IMGUI_ARCHIVE or GATESCOPE_IMGUI_DIR. "
                       "-DGATESCOPE_APP=OFF builds without the window.")
  set(archive "${GATESCOPE_IMGUI_ARCHIVE}")
  if(NOT archive)
    set(archive "${GATESCOPE_DEPS_DIR}/${name}")
    if(NOT EXISTS "${archive}" AND GATESCOPE_OFFLINE)
      message(FATAL_ERROR "${archive} is missing and GATESCOPE_OFFLINE is on. ${remedy}")
    endif()
    if(NOT EXISTS "${archive}")
      find_package(Python3 REQUIRED COMPONENTS Interpreter)
      message(STATUS "Fetching ${name} (54 MB, once) into ${GATESCOPE_DEPS_DIR}")
      execute_process(RESULT_VARIABLE failed COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fetch_source_archive.py"
        imgui-bundle ${GATESCOPE_IMGUI_VERSION} ${GATESCOPE_IMGUI_SHA256} "${GATESCOPE_DEPS_DIR}")
      if(failed)
        message(FATAL_ERROR "${name} could not be fetched (see above; python3-pip and a reachable package index are needed). ${remedy}")
      endif()
    endif()
  endif()
  if(NOT EXISTS "${archive}")
    message(FATAL_ERROR "GATESCOPE_IMGUI_ARCHIVE: ${archive} does not exist. ${remedy}")
  endif()
  file(SHA256 "${archive}" found)
  if(NOT found STREQUAL GATESCOPE_IMGUI_SHA256)
    message(FATAL_ERROR "${archive} has SHA-256 ${found}, expected ${GATESCOPE_IMGUI_SHA256}: cut short or altered. Delete it. ${remedy}")
  endif()
  set(${out} "${archive}" PARENT_SCOPE)
endfunction()

# gs_imgui_tree(out): the unpacked tree. Its name carries the pin and it gets that name last, so a tree that exists is whole.
function(gs_imgui_tree out)
  if(GATESCOPE_IMGUI_DIR)
    if(NOT EXISTS "${GATESCOPE_IMGUI_DIR}/external/imgui/imgui/imgui.h")
      message(FATAL_ERROR "GATESCOPE_IMGUI_DIR: ${GATESCOPE_IMGUI_DIR} holds no external/imgui/imgui/imgui.h")
    endif()
    set(${out} "${GATESCOPE_IMGUI_DIR}" PARENT_SCOPE)
    return()
  endif()
  string(SUBSTRING ${GATESCOPE_IMGUI_SHA256} 0 12 pin)
  set(tree "${GATESCOPE_DEPS_DIR}/imgui_bundle-${GATESCOPE_IMGUI_VERSION}-${pin}")
  file(MAKE_DIRECTORY "${GATESCOPE_DEPS_DIR}")
  file(LOCK "${GATESCOPE_DEPS_DIR}/lock" GUARD FUNCTION TIMEOUT 600)
  if(NOT EXISTS "${tree}")
    gs_imgui_archive(archive)
    message(STATUS "Unpacking ${archive}")
    set(scratch "${tree}.unpacking")
    file(REMOVE_RECURSE "${scratch}")
    set(top imgui_bundle-${GATESCOPE_IMGUI_VERSION})
    # What we use: 13 of 136 MB.
    file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${scratch}" PATTERNS
      "${top}/LICENSE" "${top}/external/imgui/imgui/*.cpp" "${top}/external/imgui/imgui/*.h" "${top}/external/imgui/imgui/LICENSE.txt"
      "${top}/external/implot/implot/*" "${top}/external/imgui_test_engine/imgui_test_engine/imgui_test_engine/*")
    file(RENAME "${scratch}/${top}" "${tree}")
    file(REMOVE_RECURSE "${scratch}")
  endif()
  set(${out} "${tree}" PARENT_SCOPE)
endfunction()

find_package(Vulkan 1.2 REQUIRED COMPONENTS glslc)
find_package(glfw3 3.3 REQUIRED)
gs_imgui_tree(GS_IMGUI_TREE)
set(_imgui "${GS_IMGUI_TREE}/external/imgui/imgui")
set(_implot "${GS_IMGUI_TREE}/external/implot/implot")
set(_engine "${GS_IMGUI_TREE}/external/imgui_test_engine/imgui_test_engine")

# gs_add_imgui(imgui implot): the pair is compiled a second time for the test engine, whose hooks change ImGui's structures. For the same
# reason every definition is PUBLIC: all files that see imgui.h must agree.
function(gs_add_imgui imgui implot)
  # imgui_stacklayout.cpp is the bundle's own addition, and its imgui.cpp calls it.
  add_library(${imgui} STATIC "${_imgui}/imgui.cpp" "${_imgui}/imgui_draw.cpp" "${_imgui}/imgui_tables.cpp" "${_imgui}/imgui_widgets.cpp"
    "${_imgui}/imgui_stacklayout.cpp" "${_imgui}/misc/cpp/imgui_stdlib.cpp" "${_imgui}/backends/imgui_impl_null.cpp"
    "${_imgui}/backends/imgui_impl_glfw.cpp" "${_imgui}/backends/imgui_impl_vulkan.cpp")
  target_include_directories(${imgui} SYSTEM PUBLIC "${_imgui}" "${_imgui}/backends" "${_imgui}/misc/cpp")
  # 32-bit indices: a token strip passes 65,536 vertices. 32-bit characters: tokens hold emoji.
  target_compile_definitions(${imgui} PUBLIC "ImDrawIdx=unsigned int" IMGUI_USE_WCHAR32 IMGUI_DISABLE_OBSOLETE_FUNCTIONS
    IMGUI_DISABLE_DEMO_WINDOWS)
  target_link_libraries(${imgui} PUBLIC Vulkan::Vulkan glfw)
  add_library(${implot} STATIC "${_implot}/implot.cpp" "${_implot}/implot_items.cpp")
  target_include_directories(${implot} SYSTEM PUBLIC "${_implot}")
  # All ten number types would double implot_items.cpp's compile time and add 3 MB.
  target_compile_definitions(${implot} PUBLIC "IMPLOT_CUSTOM_NUMERIC_TYPES=(float)(double)")
  target_link_libraries(${implot} PUBLIC ${imgui})
endfunction()

gs_add_imgui(gs_imgui gs_implot)
if(GATESCOPE_TEST_ENGINE)
  gs_add_imgui(gs_imgui_test gs_implot_test)
  file(GLOB _engine_sources "${_engine}/imgui_test_engine/*.cpp")
  target_sources(gs_imgui_test PRIVATE ${_engine_sources})
  target_include_directories(gs_imgui_test SYSTEM PUBLIC "${_engine}" "${_engine}/imgui_test_engine")
  target_compile_definitions(gs_imgui_test PUBLIC IMGUI_ENABLE_TEST_ENGINE IMGUI_TEST_ENGINE_ENABLE_COROUTINE_STDTHREAD_IMPL=1
    IMGUI_TEST_ENGINE_ENABLE_STD_FUNCTION=1)
endif()
