# The load generator and the upstream of bench/compare.sh. Not built by default:
# cmake --build ... --target bench
foreach(name load upstream)
  add_executable(bench-${name} EXCLUDE_FROM_ALL bench/${name}.c)
  target_compile_definitions(bench-${name} PRIVATE _GNU_SOURCE)
  esclusa_warnings(bench-${name})
endforeach()
target_link_libraries(bench-upstream PRIVATE OpenSSL::SSL)
add_custom_target(bench DEPENDS bench-load bench-upstream)
