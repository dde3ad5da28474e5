# One list of warnings for every target. They are errors where ESCLUSA_WERROR is on: the dev and
# sanitizer presets and CI, not a user's build with a compiler that we have not seen.
option(ESCLUSA_WERROR "Treat warnings as errors" OFF)

function(esclusa_warnings target)
  target_compile_options(
    ${target}
    PRIVATE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wcast-qual
            -Wstrict-prototypes
            -Wmissing-prototypes
            -Wformat=2
            -Wswitch-enum
            -Wundef
            -Wvla
            -Wnull-dereference
            -Wwrite-strings)
  if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # libseccomp's SCMP_CMP() leaves a field out, which gcc lets a macro of the system do.
    target_compile_options(${target} PRIVATE -Wno-missing-field-initializers)
  endif()
  if(ESCLUSA_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
