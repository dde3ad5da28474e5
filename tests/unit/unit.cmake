# esclusa_unit_test(<module>) for every module with a test_<module>.c
file(GLOB esclusa_unit_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.c)
foreach(source IN LISTS esclusa_unit_sources)
  get_filename_component(module ${source} NAME_WE)
  string(REPLACE test_ "" module ${module})
  esclusa_unit_test(${module})
  if(module MATCHES "^view_") # of the other program
    target_link_libraries(test_${module} PRIVATE esclusa_view_parts)
  endif()
endforeach()
